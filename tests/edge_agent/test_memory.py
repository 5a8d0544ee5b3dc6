"""What a device remembers: whole at every moment, and no more than it names."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.journal import KeptUpdate, Record
from edge_agent.memory import CONNECTIONS_OF_A_BOOT, Memory, first_connection
from edge_agent.model import HeldModel
from edge_agent.session import (
    Commit,
    Effect,
    Fetching,
    FoldBack,
    Idle,
    Reporting,
    Training,
)
from edge_agent.state_files import StateFiles, StorageError
from tests.edge_agent.test_journal import NEXT, OFFER
from tests.wire_protocol.examples import UPDATE
from wire_protocol.codecs import codec_named
from wire_protocol.error_feedback import encode
from wire_protocol.errors import DecodeError
from wire_protocol.framing import frame
from wire_protocol.params import Vector, params_digest
from wire_protocol.transfer import blob_ref, transfer_id

LAYOUT = UPDATE.layout
SIZE = 300
PERSONAL = 7
UQ = codec_named("uq")


def opened(folder: Path) -> Memory:
    return Memory(StateFiles(folder))


def vector(seed: int) -> Vector:
    return np.random.default_rng(seed).normal(size=SIZE).astype(np.float32)


def held(seed: int) -> HeldModel:
    params = vector(seed)
    return HeldModel(seed, params, params_digest(params))


def keep_model(memory: Memory, model: HeldModel) -> None:
    memory.hold(memory.write_model(model, layout=LAYOUT))
    memory.save(Fetching(OFFER), ())


def make_update(memory: Memory, seed: int) -> str:
    """Do what a round's work does with its outcome; return the transfer."""
    residual = memory.residual(layout=LAYOUT, size=SIZE)
    sent = encode(vector(seed), residual=residual, codec=UQ)
    update = frame(UPDATE, sent.payload)
    kept = KeptUpdate(OFFER.round, transfer_id(blob_ref(update)), LAYOUT)
    memory.write_update(
        kept, frame=update, meant=sent.meant, personal=vector(seed)[:PERSONAL]
    )
    return kept.transfer


def names(folder: Path) -> set[str]:
    return {path.name for path in (folder / "memory").iterdir()}


VERDICTS: dict[str, tuple[Callable[[int, str], Effect], ...]] = {
    "counted": (Commit,),
    "refused": (FoldBack,),
    "taken back": (Commit, FoldBack),
    "untold": (),
}


@settings(max_examples=40)
@given(
    fates=st.lists(
        st.tuples(st.sampled_from(sorted(VERDICTS)), st.booleans()),
        min_size=1,
        max_size=6,
    )
)
def test_the_residual_is_the_same_with_and_without_restarts(
    tmp_path_factory: pytest.TempPathFactory, fates: list[tuple[str, bool]]
) -> None:
    one, other = (tmp_path_factory.mktemp(name) for name in ("one", "other"))
    steady, restarted = opened(one), opened(other)
    for seed, (fate, killed) in enumerate(fates):
        transfers = {make_update(memory, seed) for memory in (steady, restarted)}
        (transfer,) = transfers
        for memory in (steady, restarted):
            memory.save(Reporting(OFFER, transfer), ())
        for verdict in VERDICTS[fate]:
            if killed:
                restarted = opened(other)
            for memory in (steady, restarted):
                memory.save(Idle(OFFER), (verdict(OFFER.round, transfer),))
        if killed:
            restarted = opened(other)
        residuals = [
            memory.residual(layout=LAYOUT, size=SIZE) for memory in (steady, restarted)
        ]
        assert residuals[0] is not None
        assert residuals[1] is not None
        assert residuals[0].tobytes() == residuals[1].tobytes()
        for memory in (steady, restarted):
            personal = memory.personal(layout=LAYOUT, size=PERSONAL)
            assert personal is not None
            assert personal.tobytes() == vector(seed)[:PERSONAL].tobytes()
    assert names(one) == names(other)
    assert len(names(one)) == 2


def test_the_outbox_survives(tmp_path: Path) -> None:
    memory = opened(tmp_path)
    transfer = make_update(memory, 1)
    memory.save(Reporting(OFFER, transfer, NEXT), ())
    again = opened(tmp_path)
    assert again.record.state == Reporting(OFFER, transfer, NEXT)
    assert transfer_id(blob_ref(again.update(transfer))) == transfer


def test_an_update_that_no_journal_names_is_removed(tmp_path: Path) -> None:
    memory = opened(tmp_path)
    memory.save(Training(OFFER), ())
    transfer = make_update(memory, 1)
    assert names(tmp_path) == {f"{transfer}.update", f"{transfer}.vectors"}
    assert opened(tmp_path).record == Record(Training(OFFER))
    assert names(tmp_path) == set()


def test_the_model_survives_and_the_one_before_does_not(tmp_path: Path) -> None:
    memory = opened(tmp_path)
    keep_model(memory, held(1))
    keep_model(memory, held(2))
    found = opened(tmp_path).model(layout=LAYOUT)
    assert found is not None
    assert (found.version, found.digest) == (2, held(2).digest)
    assert found.params.tobytes() == held(2).params.tobytes()
    assert names(tmp_path) == {f"model-{held(2).digest[:16]}.vectors"}
    assert opened(tmp_path).model(layout="0" * 16) is None


def test_what_is_being_written_is_not_removed(tmp_path: Path) -> None:
    memory = opened(tmp_path)
    memory.write_model(held(1), layout=LAYOUT)
    memory.save(Fetching(OFFER), ())
    assert len(names(tmp_path)) == 1
    memory.save(Training(OFFER), ())
    (tmp_path / "memory" / ".checkpoint.vectors.new").write_bytes(b"half")
    (tmp_path / "memory" / "checkpoint.vectors").write_bytes(b"whole")
    memory.save(Fetching(OFFER), ())
    assert len(names(tmp_path)) == 3
    memory.save(Idle(OFFER), ())
    assert "checkpoint.vectors" not in names(tmp_path)
    opened(tmp_path)
    assert names(tmp_path) == set()


def test_the_same_state_is_not_written_twice(tmp_path: Path) -> None:
    files = StateFiles(tmp_path)
    memory = Memory(files)
    memory.save(Idle(OFFER), ())
    written = files.written_bytes
    memory.save(Idle(OFFER), ())
    again = Memory(files)
    again.save(Idle(OFFER), ())
    assert files.written_bytes == written


def damaged(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)


def removed(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("harm", [damaged, removed])
def test_without_its_journal_a_device_begins_anew_but_keeps_the_model(
    tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    memory = opened(tmp_path)
    keep_model(memory, held(1))
    memory.save(Reporting(OFFER, make_update(memory, 1)), ())
    harm(tmp_path / "journal")
    again = opened(tmp_path)
    assert again.record.state == Idle()
    assert again.record.update is None
    assert again.model(layout=LAYOUT) is not None
    assert len(names(tmp_path)) == 1


@pytest.mark.parametrize("harm", [damaged, removed])
@pytest.mark.parametrize("suffix", ["update", "vectors"])
def test_a_part_that_is_damaged_is_lost_and_nothing_else(
    tmp_path: Path, harm: Callable[[Path], None], suffix: str
) -> None:
    memory = opened(tmp_path)
    keep_model(memory, held(1))
    transfer = make_update(memory, 1)
    memory.save(Reporting(OFFER, transfer), ())
    harm(tmp_path / "memory" / f"{transfer}.{suffix}")
    again = opened(tmp_path)
    assert again.residual(layout=LAYOUT, size=SIZE) is None
    assert again.model(layout=LAYOUT) is not None
    if suffix == "vectors":
        assert again.update(transfer)
    else:
        with pytest.raises(DecodeError):
            again.update(transfer)


@pytest.mark.parametrize("harm", [damaged, removed])
def test_a_model_that_is_damaged_is_fetched_again(
    tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    keep_model(opened(tmp_path), held(1))
    harm(next((tmp_path / "memory").iterdir()))
    assert opened(tmp_path).model(layout=LAYOUT) is None


def test_a_model_under_the_name_of_another_is_not_taken(tmp_path: Path) -> None:
    memory = opened(tmp_path)
    keep_model(memory, held(1))
    path = next((tmp_path / "memory").iterdir())
    wrong = HeldModel(1, vector(2), held(1).digest)
    Memory(StateFiles(tmp_path)).write_model(wrong, layout=LAYOUT)
    assert path.exists()
    assert opened(tmp_path).model(layout=LAYOUT) is None


def test_a_residual_of_another_model_is_none(tmp_path: Path) -> None:
    memory = opened(tmp_path)
    memory.save(Reporting(OFFER, make_update(memory, 1)), ())
    assert memory.residual(layout=LAYOUT, size=SIZE) is not None
    assert memory.residual(layout="0" * 16, size=SIZE) is None
    assert memory.residual(layout=LAYOUT, size=SIZE + 1) is None
    assert memory.personal(layout=LAYOUT, size=PERSONAL) is not None
    assert memory.personal(layout="0" * 16, size=PERSONAL) is None
    assert memory.personal(layout=LAYOUT, size=PERSONAL + 1) is None


def test_a_verdict_that_could_not_be_written_is_written_with_the_next_state(
    tmp_path: Path,
) -> None:
    full = False

    def replace_file(path: Path, *parts: bytes) -> None:
        if full:
            raise OSError(28, "No space left on device")
        path.write_bytes(b"".join(parts))

    memory = Memory(StateFiles(tmp_path, replace_file=replace_file))
    transfer = make_update(memory, 1)
    memory.save(Reporting(OFFER, transfer), ())
    full = True
    with pytest.raises(StorageError, match="No space"):
        memory.save(Idle(OFFER), (Commit(OFFER.round, transfer),))
    assert opened(tmp_path).record.state == Reporting(OFFER, transfer)
    full = False
    memory.save(Fetching(NEXT), ())
    update = opened(tmp_path).record.update
    assert update is not None
    assert update.fate == "counted"


def test_connection_numbers_grow_with_every_start(tmp_path: Path) -> None:
    numbers = [first_connection(StateFiles(tmp_path)) for _ in range(3)]
    assert numbers == [CONNECTIONS_OF_A_BOOT * boot for boot in (1, 2, 3)]
    files = StateFiles(tmp_path)
    first_connection(files)
    assert files.written_bytes < 20


@pytest.mark.parametrize(
    "content", [b"", b"x", b"\xff", b"-7", b"9" * 400, b"4294967296"]
)
def test_a_damaged_count_of_starts_is_survived(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "boot").write_bytes(content)
    assert 0 < first_connection(StateFiles(tmp_path)) < 2**53
