"""Every set of the catalog is what its documentation says."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from model_zoo.data import fsdd, mnist_by_writer, sp_sw_har, uci_har
from model_zoo.data.catalog import SETS, entry, load
from model_zoo.data.federation import federate
from model_zoo.data.mfcc import mfcc
from wire_protocol.errors import ConfigError
from wire_protocol.npz import Array

SHARED = Path(__file__).parents[2].parent / "shared" / "datasets"


def environ_with(folder: str) -> Mapping[str, str]:
    """Return an environment that has the real set in ``folder``, or skip the test."""
    root = Path(os.environ.get("EDGEFED_DATA") or SHARED)
    if not (root / folder / "data.npz").is_file():
        pytest.skip(f"needs the real {folder}/data.npz: set EDGEFED_DATA")
    return {"EDGEFED_DATA": str(root)}


def test_digits_hold_out_a_fifth_of_every_class_by_seed() -> None:
    first = load("digits", seed=0, environ={})
    assert first.x.shape == (1797, 64)
    assert (first.x.min(), first.x.max()) == (0, 16)
    assert abs(first.held_out.mean() - 0.2) < 0.002
    counts = np.bincount(first.y), np.bincount(first.y[first.held_out])
    assert np.abs(counts[1] - 0.2 * counts[0]).max() <= 0.5
    again = load("digits", seed=0, environ={}).held_out
    assert np.array_equal(again, first.held_out)
    other = load("digits", seed=1, environ={}).held_out
    assert not np.array_equal(other, first.held_out)


def test_digits_without_scikit_learn_say_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ConfigError, match="pip install scikit-learn"):
        load("digits", seed=0, environ={})


def har_arrays() -> dict[str, Array]:
    person = np.array([1, 1, 16, 23], np.uint8)
    return {
        "x": np.full((4, 50, 6), 9.8125, np.float16),
        "y": np.array([0, 4, 2, 3], np.uint8),
        "client_id": person,
        "device": np.array([0, 1, 0, 1], np.uint8),
        "split_within": np.array([0, 1, 0, 0], np.uint8),
        "split_subject": (person >= 17).astype(np.uint8),
    }


def test_sp_sw_har_is_people_or_their_phones_and_watches() -> None:
    people = sp_sw_har.assemble(har_arrays())
    assert people.x.dtype == np.float32
    assert people.x[0, 0, 0] == 9.8125
    owners = [people.clients[client] for client in people.client]
    assert owners == ["person-01", "person-01", "person-16", "person-23"]
    assert people.held_out.tolist() == [False, True, False, False]
    assert people.unseen.tolist() == [False, False, False, True]
    placed = sp_sw_har.assemble(har_arrays(), by_place=True)
    assert [placed.clients[client] for client in placed.client] == [
        "person-01-phone", "person-01-watch", "person-16-phone", "person-23-watch",
    ]  # fmt: skip
    assert len(set(placed.clients)) == 46


@pytest.mark.parametrize("array", ["client_id", "y"])
def test_sp_sw_har_of_other_people_or_activities_is_refused(array: str) -> None:
    arrays = har_arrays() | {array: np.array([1, 2, 3, 24], np.uint8)}
    with pytest.raises(ConfigError, match="sp-sw-har"):
        sp_sw_har.assemble(arrays)


def test_mnist_by_writer_has_images_of_one_channel_with_raw_pixels() -> None:
    made = mnist_by_writer.assemble(
        {
            "x": np.full((3, 28, 28), 255, np.uint8),
            "y": np.array([0, 9, 3], np.uint8),
            "client_id": np.array([2154, 7, 2154], np.int32),
            "split": np.array([0, 1, 0], np.uint8),
        }
    )
    assert made.x.shape == (3, 28, 28, 1)
    assert made.x.max() == 255
    owners = [made.clients[client] for client in made.client]
    assert owners == ["writer-2154", "writer-0007", "writer-2154"]
    assert made.held_out.tolist() == made.unseen.tolist() == [False, True, False]


def speech_arrays() -> dict[str, Array]:
    rng = np.random.default_rng(0)
    return {
        "audio": rng.integers(-9999, 9999, 4000).astype(np.int16),
        "audio_offset": np.array([0, 900, 1800, 2500, 4000], np.int64),
        "y": np.array([0, 3, 9, 9], np.uint8),
        "client_id": np.array([0, 0, 4, 5], np.uint8),
        "recording_index": np.array([4, 13, 14, 49], np.uint8),
    }


def test_fsdd_is_five_devices_a_speaker_or_speakers() -> None:
    arrays = speech_arrays()
    made = fsdd.assemble(arrays)
    assert made.x.shape == (4, 49, 10)
    sound = arrays["audio"].astype(np.int16)[1800:2500]
    assert np.array_equal(made.x[2], mfcc(sound))
    owners = [made.clients[client] for client in made.client]
    assert owners == ["george-5", "george-1", "theo-2", "yweweler-5"]
    assert made.held_out.tolist() == [True, False, False, False]
    assert made.unseen.tolist() == [False, False, False, True]
    spoken = fsdd.assemble(arrays, by_speaker=True)
    assert [spoken.clients[k] for k in spoken.client] == [
        *("george", "george", "theo", "yweweler"),
    ]


@pytest.mark.parametrize(
    "offsets", [[0, 0, 9, 10, 4000], [1, 2, 3, 4, 4000], [0, 1, 2, 3, 4001]], ids=str
)
def test_fsdd_with_offsets_that_do_not_cut_the_audio_is_refused(
    offsets: list[int],
) -> None:
    with pytest.raises(ConfigError, match="the offsets do not cut the audio"):
        fsdd.assemble(speech_arrays() | {"audio_offset": np.array(offsets)})


def test_uci_har_is_people_with_features_from_minus_1_to_1() -> None:
    made = uci_har.assemble(
        {
            "x_q15": np.array([[-32767, 0], [32767, 1]], np.int16),
            "y": np.array([0, 5], np.uint8),
            "client_id": np.array([1, 30], np.uint8),
            "split_within": np.array([0, 1], np.uint8),
            "split_official": np.array([1, 0], np.uint8),
        }
    )
    assert made.x.tolist() == [[-1, 0], [1, np.float32(1 / 32767)]]
    assert [made.clients[k] for k in made.client] == ["person-01", "person-30"]
    assert made.held_out.tolist() == [False, True]
    assert made.unseen.tolist() == [True, False]


def test_real_fsdd_trains_30_devices_and_is_judged_by_the_official_split() -> None:
    dataset = load("fsdd", seed=0, environ=environ_with("fsdd"))
    made = federate(dataset, seed=0)
    assert [len(shard) for shard in made.shards] == [90] * 30
    for shard in made.shards:
        assert shard.y is not None
        assert np.bincount(shard.y).tolist() == [9] * 10
    assert np.bincount(made.test_y).tolist() == [30] * 10
    assert len(federate(dataset, seed=0, unseen=True).shards) == 25


def test_real_uci_har_trains_21_people_and_is_judged_by_9() -> None:
    dataset = load("uci-har", seed=0, environ=environ_with("uci_har"))
    made = federate(dataset, seed=0, unseen=True)
    assert (len(made.shards), sum(map(len, made.shards))) == (21, 7352)
    assert len(made.test_y) == 2947
    assert np.abs(made.test_x).max() <= 1


def test_real_sp_sw_har_trains_16_people_and_is_judged_by_7() -> None:
    dataset = load("sp-sw-har", seed=0, environ=environ_with("sp_sw_har"))
    made = federate(dataset, unseen=True, seed=0)
    assert [shard.name for shard in made.shards] == [
        f"person-{number:02d}" for number in range(1, 17)
    ]
    assert (sum(len(shard) for shard in made.shards), len(made.test_y)) == (
        5736,
        2619,
    )
    made = federate(dataset, seed=0)
    assert len(made.shards) == 23
    assert (sum(len(shard) for shard in made.shards), len(made.test_y)) == (
        6035,
        2320,
    )


def test_real_sp_sw_har_by_place_has_46_devices() -> None:
    environ = environ_with("sp_sw_har")
    made = federate(load("sp-sw-har-by-place", seed=0, environ=environ), seed=0)
    assert len(made.shards) == 46


def test_real_mnist_has_539_writers_and_others_to_judge() -> None:
    environ = environ_with("mnist_by_writer")
    made = federate(load("mnist-by-writer", seed=0, environ=environ), seed=0)
    assert len(made.shards) == 539
    assert made.test_x.shape == (10_000, 28, 28, 1)


@pytest.mark.parametrize("name", [name for name in SETS if name != "digits"])
def test_a_set_that_is_not_here_is_one_line(name: str, tmp_path: Path) -> None:
    for environ in ({}, {"EDGEFED_DATA": str(tmp_path)}):
        with pytest.raises(ConfigError, match=r"is not here.*cite") as caught:
            load(name, seed=0, environ=environ)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "says"),
    [("digit", "did you mean digits"), ("sp_sw_har", "did you mean sp-sw-har?"),
     ("", "choose one of digits, sp-sw-har")],
)  # fmt: skip
def test_an_unknown_name_is_told_the_nearest(name: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        entry(name)
