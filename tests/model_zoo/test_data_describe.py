"""What devices hold is counted, measured, printed and drawn."""

import argparse
import json
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from model_zoo.cli import add_commands
from model_zoo.data.cli import table
from model_zoo.data.dataset import Dataset
from model_zoo.data.describe import (
    Description,
    described,
    distance,
    entropy_bits,
    most_unlike,
)
from model_zoo.data.federation import federate
from model_zoo.data.mix_chart import MUTED, Picture, colours, page, picture
from model_zoo.data.skew import Partition, Shards
from wire_protocol.errors import ConfigError

pytestmark = pytest.mark.slow

counts = arrays(np.int64, 5, elements=st.integers(0, 1000))


@given(counts)
def test_entropy_is_between_one_class_and_all_alike(
    some: np.ndarray[tuple[int], np.dtype[np.int64]],
) -> None:
    assert 0 <= entropy_bits(some) <= np.log2(5) + 1e-9
    assert entropy_bits(some) == pytest.approx(entropy_bits(some * 3))
    assert entropy_bits(np.array([0, 7, 0])) == 0
    assert entropy_bits(np.array([4, 4, 4, 4])) == 2


@given(counts, counts)
def test_distance_is_one_of_shares(
    one: np.ndarray[tuple[int], np.dtype[np.int64]],
    other: np.ndarray[tuple[int], np.dtype[np.int64]],
) -> None:
    assert 0 <= distance(one, other) <= 1 + 1e-9
    assert distance(one, other) == distance(other, one)
    assert distance(one, one * 2) == pytest.approx(0)
    assert distance(np.array([5, 0]), np.array([0, 9])) == 1


def made(
    people: int = 8,
    *,
    task: str = "classification",
    classes: int = 3,
    partition: Partition | None = None,
) -> Description:
    rng = np.random.default_rng(2)
    client = np.repeat(np.arange(people, dtype=np.int32), 12)
    dataset = Dataset(
        name="toy",
        x=np.zeros((len(client), 2), np.float32),
        y=rng.integers(0, classes, len(client)).astype(np.int32),
        classes=tuple(f"<{kind}>" for kind in range(classes)),
        held_out=np.tile(np.arange(12) == 0, people),
        client=client,
        clients=tuple(f"person-{number}" for number in range(people)),
    )
    if task == "regression":
        y = client[:, np.newaxis] + rng.normal(size=(len(client), 1))
        dataset = replace(
            dataset, task="regression", y=y.astype(np.float32), classes=()
        )
    if task == "reconstruction":
        bits = np.minimum(dataset.y, 1).astype(np.int32)
        dataset = replace(dataset, task="reconstruction", y=bits, classes=())
    return described(dataset, federate(dataset, partition=partition, seed=0))


def test_clients_add_up_to_the_total() -> None:
    whole = made()
    assert whole.total.examples == sum(each.examples for each in whole.clients) == 88
    assert whole.judging == 8
    counted = np.sum([each.counts for each in whole.clients], 0)
    assert counted.tolist() == list(whole.total.counts)
    assert whole.total.distance == 0
    skewed = made(partition=Shards(1))
    assert skewed.partition == "shards:1"
    assert np.mean([each.distance for each in skewed.clients]) > 0.4
    order = [each.distance for each in most_unlike(skewed.clients)]
    assert order == sorted(order, reverse=True)


def test_targets_are_described_by_quantiles_and_tenths() -> None:
    whole = made(task="regression")
    medians = [each.quantiles[2] for each in whole.clients]
    assert medians == sorted(medians)
    assert all(len(each.counts) == 10 for each in whole.clients)
    assert whole.clients[0].distance > 0.5


def test_a_table_says_every_device_and_the_whole() -> None:
    lines = table(made(partition=Shards(1))).splitlines()
    assert lines[0] == "toy, shards:1: 6 devices hold 88 examples; 8 others judge"
    names = [line.split()[0] for line in lines[3:10]]
    assert names == [*(f"device-0{number}" for number in range(1, 7)), "all"]
    assert "0 <0>, 1 <1>, 2 <2>" in lines[-1]
    many = table(made(200)).splitlines()
    assert len(many) < 70
    assert any("the 60 most unlike of 200" in line for line in many)
    assert "%" in table(made(classes=40))
    assert "MEDIAN" in table(made(task="regression"))
    assert "normal examples only" in table(made(task="reconstruction"))


CASES: dict[str, dict[str, Any]] = {
    "few": {},
    "many": {"people": 70},
    "many classes": {"classes": 40},
    "targets": {"task": "regression"},
    "many targets": {"people": 70, "task": "regression"},
    "normal ones": {"task": "reconstruction"},
    "many normal ones": {"people": 70, "task": "reconstruction"},
}


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_a_picture_can_be_drawn_and_names_who_can_be_named(
    case: dict[str, Any],
) -> None:
    description = made(**case)
    drawing = picture(description, kind="svg")
    root = ET.fromstring(drawing)
    assert root.tag.endswith("svg")
    named = b"<!-- person-3 -->" in drawing
    assert named == (len(description.clients) <= 60)


@pytest.mark.parametrize(
    ("kind", "magic"), [("png", b"\x89PNG"), ("svg", b"<?xml")], ids=str
)
def test_the_same_description_gives_the_same_bytes(kind: Picture, magic: bytes) -> None:
    first, second = (picture(made(), kind=kind) for _ in range(2))
    assert first == second
    assert first.startswith(magic)


def test_colours_differ() -> None:
    for count in (2, 10, 11, 62):
        assert len({tuple(colour) for colour in colours(count)}) == count
    assert colours(3) == list(MUTED[:3])


def test_a_page_holds_the_picture_and_the_table_escaped() -> None:
    text = page(made(), table(made()))
    assert text.count("<svg") == 1
    assert "1 &lt;1&gt;" in text
    assert "<1>" not in text
    assert "http" not in text.partition("<svg")[0]


def run(*words: str) -> int:
    parser = argparse.ArgumentParser()
    add_commands(parser.add_subparsers())
    args = parser.parse_args(["zoo", "describe-data", *words])
    code: int = args.run(args)
    return code


def test_the_command_prints_a_table_and_draws(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "mix.html"
    assert run("digits", "--devices", "4", "--out", str(out)) == 0
    printed = capsys.readouterr().out
    assert "digits, dirichlet:0.3: 4 devices hold 1438 examples" in printed
    assert "device-04" in out.read_text()


def test_the_command_prints_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("digits", "--partition", "shards:2", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["partition"] == "shards:2"
    assert told["total"]["examples"] == 1438
    assert len(told["clients"]) == 6


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("digit",), "did you mean digits"),
        (("digits", "--partition", "dir"), "'dir' is no partition"),
        (("digits", "--out", "mix.jpg"), "is no picture"),
        (("digits", "--out", "/nowhere/mix.svg"), "cannot be written"),
        (("digits", "--devices", "1000"), "1000 devices"),
    ],
    ids=["data", "partition", "kind", "place", "devices"],
)
def test_what_cannot_be_described_is_refused(words: tuple[str, ...], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        run(*words)
