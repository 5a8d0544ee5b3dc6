"""Checkpoints: training that was ended goes on to the same bits, on real runtimes."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.checkpoints import FILE, Checkpoints
from edge_agent.runtimes import RuntimeName
from edge_agent.state_files import StateFiles
from edge_agent.trainers.trainer import Trainer, open_trainer
from edge_agent.training import (
    CancelledTrainingError,
    Checkpoint,
    LocalModel,
    train,
)
from edge_agent.vectors import write_vectors
from model_zoo import zoo
from tests.edge_agent.offers import offer_of
from tests.edge_agent.test_training import examples_for
from wire_protocol.messages import RoundOffer
from wire_protocol.selftest import start

NAMES: tuple[RuntimeName, ...] = ("litert", "onnxruntime")
MANIFEST = zoo.manifest("digits-mlp")
SIZE = MANIFEST.layout.size
EPOCHS = 4


def offer(*, epochs: int = EPOCHS, number: int = 1) -> RoundOffer:
    made = offer_of(number)
    return replace(made, plan=replace(made.plan, epochs=epochs, mu=0.1))


def checkpoints(
    folder: Path,
    *,
    of: RoundOffer | None = None,
    device: str = "a",
    replace_file: Callable[..., None] | None = None,
) -> Checkpoints:
    files = StateFiles(folder)
    if replace_file is not None:
        files = StateFiles(folder, replace_file=replace_file)
    return Checkpoints(files, folder, offer=of or offer(), device=device)


@pytest.fixture(scope="module", params=NAMES)
def trainer(request: pytest.FixtureRequest) -> Iterator[Trainer]:
    opened = open_trainer(
        request.param, zoo.artifact_folder("digits-mlp"), manifest=MANIFEST
    )
    yield opened
    opened.close()


def trained(trainer: Trainer, **options: Any) -> LocalModel:
    return train(
        trainer,
        examples_for(MANIFEST),
        base=start(MANIFEST.layout),
        plan=offer().plan,
        batch=MANIFEST.batch,
        seed=1,
        **options,
    )


@pytest.mark.parametrize("killed_after", range(1, EPOCHS))
def test_what_a_kill_ended_goes_on_to_the_same_bits(
    tmp_path: Path, trainer: Trainer, killed_after: int
) -> None:
    undisturbed = trained(trainer)
    kept = checkpoints(tmp_path)
    done: list[int] = []

    def save(checkpoint: Checkpoint) -> None:
        kept.save(checkpoint, examples="45", seconds=1.5)
        done.append(checkpoint.epoch)

    with pytest.raises(CancelledTrainingError):
        trained(trainer, save=save, cancelled=lambda: len(done) == killed_after)
    found = checkpoints(tmp_path).load(examples="45", size=SIZE, state_size=SIZE)
    assert found is not None
    checkpoint, seconds = found
    assert (checkpoint.epoch, seconds) == (killed_after, 1.5)
    steps = 0

    def count() -> bool:
        nonlocal steps
        steps += 1
        return False

    again = trained(trainer, checkpoint=checkpoint, cancelled=count)
    assert again.params.tobytes() == undisturbed.params.tobytes()
    assert (again.loss, again.steps) == (undisturbed.loss, undisturbed.steps)
    assert steps == (EPOCHS - killed_after) * again.steps // EPOCHS


def test_every_epoch_but_the_last_is_saved(trainer: Trainer) -> None:
    saved: list[Checkpoint] = []
    trained(trainer, save=saved.append)
    assert [one.epoch for one in saved] == [1, 2, 3]
    assert len({one.state.tobytes() for one in saved}) == 3


CHECKPOINT = Checkpoint(
    2, 6, 0.5, np.arange(SIZE, dtype=np.float32), np.ones(SIZE, np.float32)
)


def test_a_checkpoint_of_another_training_is_not_found(tmp_path: Path) -> None:
    checkpoints(tmp_path).save(CHECKPOINT, examples="45", seconds=1)
    to_more = replace(offer(), cohort=("a", "b", "c"))
    found = checkpoints(tmp_path, of=to_more).load(
        examples="45", size=SIZE, state_size=SIZE
    )
    assert found is not None
    for other in (
        checkpoints(tmp_path, of=offer(number=2)),
        checkpoints(tmp_path, of=offer(epochs=5)),
        checkpoints(tmp_path, device="b"),
    ):
        assert other.load(examples="45", size=SIZE, state_size=SIZE) is None


def test_a_checkpoint_of_another_size_is_not_found(tmp_path: Path) -> None:
    checkpoints(tmp_path).save(CHECKPOINT, examples="45", seconds=1)
    assert (
        checkpoints(tmp_path).load(examples="45", size=SIZE + 1, state_size=SIZE + 1)
        is None
    )


def test_a_checkpoint_that_cannot_be_written_is_counted_and_survived(
    tmp_path: Path,
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    kept = checkpoints(tmp_path, replace_file=full)
    kept.save(CHECKPOINT, examples="45", seconds=1)
    assert kept.failures == 1
    assert kept.load(examples="45", size=SIZE, state_size=SIZE) is None


@given(
    head=st.dictionaries(
        st.sampled_from(["key", "examples", "epoch", "steps", "loss", "seconds"]),
        st.one_of(st.integers(), st.floats(allow_nan=False), st.text(), st.none()),
    ),
    right_key=st.booleans(),
    count=st.integers(1, 2),
)
def test_a_foreign_checkpoint_is_lost_with_a_warning(
    tmp_path_factory: pytest.TempPathFactory,
    head: dict[str, object],
    right_key: bool,
    count: int,
) -> None:
    folder = tmp_path_factory.mktemp("checkpoints")
    kept = checkpoints(folder)
    if right_key:
        head = {**head, "key": kept._key, "examples": "45"}
    vectors = [np.zeros(3, np.float32)] * count
    write_vectors(StateFiles(folder), folder / FILE, vectors=vectors, head=head)
    found = kept.load(examples="45", size=3, state_size=3)
    assert found is None or 1 <= found[0].epoch <= EPOCHS


@given(raw=st.binary(max_size=100))
def test_a_damaged_checkpoint_is_lost_with_a_warning(
    tmp_path_factory: pytest.TempPathFactory, raw: bytes
) -> None:
    folder = tmp_path_factory.mktemp("checkpoints")
    (folder / FILE).write_bytes(raw)
    assert checkpoints(folder).load(examples="45", size=3, state_size=3) is None


def test_training_begins_anew_when_its_examples_are_gone(tmp_path: Path) -> None:
    kept = checkpoints(tmp_path)
    assert kept.examples() == ""
    kept.save(CHECKPOINT, examples="3-40-abc", seconds=1)
    assert kept.examples() == "3-40-abc"
    assert checkpoints(tmp_path, device="b").examples() == ""
    for key, found in (("3-40-abc", True), ("3-41-abc", False), ("", False)):
        loaded = kept.load(examples=key, size=SIZE, state_size=SIZE)
        assert (loaded is not None) == found
