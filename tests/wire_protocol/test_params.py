"""Layouts, vectors, manifests and topics."""

import json
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire_protocol.errors import ConfigError, DecodeError, TrainingError
from wire_protocol.manifest import FileRef, Manifest, SelfTest, Task
from wire_protocol.params import ParamLayout, ParamSpec, params_digest
from wire_protocol.selftest import batches, check, hashed_uniform, start
from wire_protocol.topics import Topics, check_name

LAYOUT = ParamLayout((ParamSpec("w", (2, 3), "uniform", 0.5), ParamSpec("b", (3,))))
TEST = SelfTest(
    losses=(1.0, 0.9, 0.8),
    norms=(1.0, 0.1),
    eval_loss=0.7,
    learning_rate=0.1,
    momentum=0.9,
    mu=0.01,
    tolerance=1e-3,
)
MANIFEST = Manifest(
    name="tiny",
    task="classification",
    input_shape=(2,),
    outputs=3,
    batch=4,
    layout=LAYOUT,
    files={"model.tflite": FileRef(10, "ab" * 32)},
    selftest=TEST,
)
shapes = st.lists(
    st.lists(st.integers(1, 4), max_size=4).map(tuple), min_size=1, max_size=5
)


@given(shapes=shapes)
def test_split_and_join_are_inverse(shapes: list[tuple[int, ...]]) -> None:
    layout = ParamLayout(
        tuple(ParamSpec(f"p{i}", shape) for i, shape in enumerate(shapes))
    )
    vector = np.arange(layout.size, dtype=np.float32)
    tensors = layout.split(vector)
    assert [tensor.shape for tensor in tensors] == shapes
    assert (layout.join(tensors) == vector).all()


def test_a_start_follows_its_seed_and_its_specs() -> None:
    first = LAYOUT.initial(np.random.default_rng(1))
    assert (first == LAYOUT.initial(np.random.default_rng(1))).all()
    assert (first != LAYOUT.initial(np.random.default_rng(2))).any()
    assert np.abs(first[:6]).max() <= 0.5
    assert not first[6:].any()


def test_the_digest_of_a_layout_is_of_names_shapes_and_order() -> None:
    swapped = ParamLayout(LAYOUT.specs[::-1])
    renamed = ParamLayout((ParamSpec("v", (2, 3)), LAYOUT.specs[1]))
    assert len({LAYOUT.digest, swapped.digest, renamed.digest}) == 3


def test_one_changed_bit_changes_the_digest_of_parameters() -> None:
    vector = np.zeros(9, np.float32)
    other = vector.copy()
    other[4] = np.float32(1e-45)
    assert params_digest(vector) != params_digest(other)


@pytest.mark.parametrize(
    "specs",
    [
        (),
        (ParamSpec("w", (2,)), ParamSpec("w", (3,))),
        (ParamSpec("w", (2**20, 2**20)),),
    ],
    ids=["empty", "a name twice", "too large"],
)
def test_an_impossible_layout_is_refused(specs: tuple[ParamSpec, ...]) -> None:
    with pytest.raises(DecodeError):
        ParamLayout(specs)


def test_a_vector_of_another_size_is_refused() -> None:
    with pytest.raises(DecodeError, match="9 values"):
        LAYOUT.split(np.zeros(8, np.float32))


def test_a_manifest_comes_back_as_it_was() -> None:
    assert Manifest.from_json(MANIFEST.to_json()) == MANIFEST


@pytest.mark.parametrize(("inputs", "channels"), [(4, 3), (513, 513)])
def test_statistics_are_of_the_inputs_channels_and_of_few(
    inputs: int, channels: int
) -> None:
    mean = ParamSpec("m", (channels,), "feature_mean", trainable=False)
    layout = ParamLayout((mean, *LAYOUT.specs))
    test = replace(TEST, norms=(0.0, *TEST.norms))
    with pytest.raises(DecodeError, match="begin with standardize"):
        replace(MANIFEST, input_shape=(inputs,), layout=layout, selftest=test)
    few = ParamSpec("m", (3,), "feature_mean", trainable=False)
    layout = ParamLayout((few, *LAYOUT.specs))
    replace(MANIFEST, input_shape=(5, 3), layout=layout, selftest=test)


def test_every_truncation_of_a_manifest_is_refused() -> None:
    raw = MANIFEST.to_json()
    for end in range(len(raw)):
        with pytest.raises(DecodeError):
            Manifest.from_json(raw[:end])


@given(data=st.data())
def test_a_manifest_with_any_value_anywhere_is_read_or_refused(
    data: st.DataObject,
) -> None:
    plain = json.loads(MANIFEST.to_json())
    path = data.draw(
        st.sampled_from(
            [(key,) for key in plain]
            + [("layout", 0), ("layout", 0, "shape"), ("layout", 0, "name")]
            + [("selftest", key) for key in plain["selftest"]]
            + [("files", "model.tflite"), ("files", "model.tflite", "size")]
        )
    )
    inner = plain
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = data.draw(
        st.none()
        | st.integers()
        | st.floats()
        | st.text(max_size=9)
        | st.lists(st.integers() | st.text(max_size=3), max_size=4)
        | st.dictionaries(st.text(max_size=4), st.integers(), max_size=3)
    )
    try:
        Manifest.from_json(json.dumps(plain).encode())
    except DecodeError:
        return


@given(raw=st.binary(max_size=200))
def test_arbitrary_bytes_are_no_manifest(raw: bytes) -> None:
    with pytest.raises(DecodeError):
        Manifest.from_json(raw)


def test_the_self_test_inputs_are_the_same_everywhere() -> None:
    # exact in binary, so equal on every machine and numpy version
    assert hashed_uniform(4, seed=3).tolist() == [
        hashed_uniform(8, seed=3)[i] for i in range(4)
    ]
    values = hashed_uniform(10_000, seed=1)
    assert ((values * 65536) == np.rint(values * 65536)).all()
    assert abs(float(values.mean())) < 0.02
    assert -0.5 <= values.min() < values.max() < 0.5
    assert start(LAYOUT).shape == (LAYOUT.size,)
    for batch in batches(Shape()):
        assert batch.x.shape == (4, 2)
        assert batch.w.tolist() == [1, 1, 0, 0]
        assert batch.y.max() < 3


@dataclass(frozen=True)
class Shape:
    """What the batches depend on."""

    task: Task = "classification"
    input_shape: tuple[int, ...] = (2,)
    outputs: int = 3
    batch: int = 4
    tokens: int = 0


@pytest.mark.parametrize(
    ("task", "shape"), [("regression", (4, 3)), ("reconstruction", (4, 0))]
)
def test_every_task_has_targets_of_its_own(task: Task, shape: tuple[int, int]) -> None:
    batch = next(batches(Shape(task)))
    assert batch.y.shape == shape
    assert batch.y.dtype == np.float32
    assert not batch.y.size or 0 <= batch.y.min() < batch.y.max() < 1


def test_tokens_are_whole_numbers_that_all_occur() -> None:
    first, *_ = batches(Shape(input_shape=(50,), tokens=7))
    assert set(first.x.ravel().tolist()) == set(range(7))


@given(kept=st.lists(st.sampled_from(["all", "frozen", "personal"]), max_size=5))
def test_only_the_federated_part_travels(kept: list[str]) -> None:
    specs = [
        ParamSpec(
            f"t{i}", (i + 1, 2), trainable=k != "frozen", personal=k == "personal"
        )
        for i, k in enumerate([*kept, "all"])
    ]
    layout = ParamLayout(tuple(specs))
    whole = np.arange(layout.size, dtype=np.float32)
    part = layout.gather(whole)
    assert part.size == layout.federated.size
    assert np.array_equal(layout.scatter(whole, part), whole)
    moved = layout.scatter(whole, part + 1)
    assert np.array_equal(whole + layout.spread(np.ones_like(part)), moved)
    for spec, before, after in zip(
        layout.specs, layout.split(whole), layout.split(moved), strict=True
    ):
        assert np.array_equal(after, before + 1 if spec.federated else before)
    assert np.array_equal(layout.gather(moved), part + 1)


def test_who_shares_what_is_part_of_the_layouts_digest() -> None:
    specs = (ParamSpec("w", (2, 3)), ParamSpec("b", (3,)))
    personal = (specs[0], ParamSpec("b", (3,), personal=True))
    assert ParamLayout(specs).digest != ParamLayout(personal).digest


@pytest.mark.parametrize("wrong", ["losses", "norms", "eval_loss", "nan"])
def test_a_wrong_outcome_of_the_self_test_is_named(wrong: str) -> None:
    losses, norms, eval_loss = list(TEST.losses), list(TEST.norms), TEST.eval_loss
    check(TEST, losses=losses, norms=norms, eval_loss=eval_loss)
    match wrong:
        case "losses":
            losses[1] += 0.01
        case "norms":
            norms[0] -= 0.01
        case "eval_loss":
            eval_loss += 0.01
        case _:
            losses[0] = float("nan")
    with pytest.raises(TrainingError, match="self-test"):
        check(TEST, losses=losses, norms=norms, eval_loss=eval_loss)


@given(fleet=st.from_regex(r"[a-z0-9][a-z0-9_-]{0,31}", fullmatch=True))
def test_a_topic_is_read_back_into_its_levels(fleet: str) -> None:
    topics = Topics(fleet)
    assert topics.levels(topics.device("pi-1", "up", "ab", "b", "0")) == (
        "d",
        "pi-1",
        "up",
        "ab",
        "b",
        "0",
    )
    assert topics.levels(topics.round(3)) == ("round", "3")


@pytest.mark.parametrize(
    "name", ["", "Pi", "a/b", "a+", "#", "-a", "a" * 33, "é", "a\n"]
)
def test_a_name_that_is_no_topic_level_is_refused(name: str) -> None:
    with pytest.raises(ConfigError):
        check_name(name, what="device")


@given(topic=st.text(max_size=60))
def test_any_topic_is_read_or_refused(topic: str) -> None:
    for full in (topic, f"edgefed/1/home/{topic}", f"edgefed/1/home/d/{topic}"):
        try:
            levels = Topics("home").levels(full)
        except DecodeError:
            continue
        assert levels
