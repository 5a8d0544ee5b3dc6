"""Whatever arrives is an event, nothing, or dropped and counted."""

import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker_server.acceptance import RefusedUpdateError, Terms
from broker_server.intake import Heard, Intake
from broker_server.outlets import Memory, Outlets
from broker_server.roster import EVERYBODY, Roster
from broker_server.round_events import Declined, LateReported, Reported
from broker_server.uplink import Uplink, max_update_bytes
from tests.broker_server.test_acceptance import BODY, GOOD, OFFER, PAST, SIZE
from wire_protocol.blobs import BlobRef, Block, Need
from wire_protocol.cutting import Listing
from wire_protocol.errors import DecodeError, Reason
from wire_protocol.framing import frame
from wire_protocol.messages import Abandoned, CheckIn, UpdateReceipt
from wire_protocol.topics import Topics
from wire_protocol.transfer import cut, transfer_id

TOPICS = Topics("test")
BLOCK = 1024


RECEIPT = UpdateReceipt(2, "00" * 8, Reason.ACCEPTED)


def known_terms(number: int) -> Terms:
    """Know one earlier round."""
    if number != PAST.round:
        raise RefusedUpdateError("unknown", reason=Reason.WRONG_ROUND)
    return PAST


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("uploads")


def anything(_device: str, _size: int) -> None:
    """Set no limit."""


def open_intake(
    folder: Path,
    needs: list[tuple[str, Need]] | None = None,
    *,
    check_limits: Callable[[str, int], None] = anything,
    roster: Roster = EVERYBODY,
) -> tuple[Intake, list[tuple[str, UpdateReceipt]]]:
    answers: list[tuple[str, UpdateReceipt]] = []
    asked = [] if needs is None else needs
    withdrawn: list[int] = []
    outlets = Outlets(
        answer=lambda device, receipt: answers.append((device, receipt)),
        withdraw=withdrawn.append,
        ask=lambda *_: None,
        need=lambda device, need: asked.append((device, need)),
        note_device=lambda *_: None,
    )
    memory = Memory(
        receipt=lambda device, transfer: (
            RECEIPT if (device, transfer) == ("a", RECEIPT.transfer) else None
        ),
        last_receipt=lambda device: RECEIPT if device == "a" else None,
        accepted=lambda number, device: (number, device) == (2, "a"),
        terms=known_terms,
    )
    uplink = Uplink(
        folder / uuid.uuid4().hex,
        window=4,
        max_bytes=max_update_bytes(SIZE),
        admits=lambda device: device in intake.registry.devices,
    )
    intake = Intake(
        TOPICS,
        outlets,
        memory=memory,
        uplink=uplink,
        size=SIZE,
        check_limits=check_limits,
        roster=roster,
    )
    for device in "ab":
        intake.receive(TOPICS.device(device, "availability"), b"online")
    intake.open(OFFER)
    return intake, answers


def send(intake: Intake, device: str, blob: bytes) -> Heard | None:
    ref, blocks = cut(blob, block_bytes=BLOCK)
    event = None
    if len(blocks) > 1:
        listing = Listing.of(blob, block_bytes=BLOCK)
        topic = TOPICS.device(device, "up", transfer_id(ref), "m")
        event = intake.receive(topic, listing.frame)
    for index, payload in enumerate(blocks):
        topic = TOPICS.device(device, "up", transfer_id(ref), "b", str(index))
        event = intake.receive(topic, payload)
    return event


def check_in(intake: Intake, device: str, *, conn: int = 1, busy: int = 0) -> None:
    said = CheckIn(conn, "r", "tflite", ("f32",), 10, busy)
    intake.receive(TOPICS.device(device, "info"), frame(said))


def free(intake: Intake) -> tuple[str, ...]:
    return intake.registry.eligible(families={"tflite"}, codec="f32")


rests = st.sampled_from(
    [
        "availability",
        "info",
        "need",
        "evt",
        "up/0123/b/0",
        "up/0/m",
        "up/x",
        "strange/topic",
    ]
)


@given(
    st.one_of(rests.map(lambda rest: TOPICS.device("a", rest)), st.text(max_size=40)),
    st.one_of(
        st.binary(max_size=200),
        st.binary(max_size=60).map(lambda body: b"EFD1\x02\x00\x00\x00{}" + body),
        st.sampled_from([frame(OFFER), frame(GOOD, BODY)]),
    ),
)
def test_no_message_can_do_more_than_be_dropped(
    folder: Path, topic: str, payload: bytes
) -> None:
    intake, _ = open_intake(folder)
    event = intake.receive(topic, payload)
    assert event is None
    assert sum(intake.refused.values()) <= 1


@given(st.binary(max_size=3000))
def test_no_whole_blob_can_do_more_than_be_refused(folder: Path, blob: bytes) -> None:
    intake, answers = open_intake(folder)
    assert send(intake, "a", blob or b"x") == Declined(OFFER.round, "a")
    assert [receipt.reason for _, receipt in answers] == [Reason.MALFORMED]
    assert intake.refused == {Reason.MALFORMED: 1}


def test_a_good_update_is_reported_with_what_it_cost(folder: Path) -> None:
    intake, answers = open_intake(folder)
    blob = frame(GOOD, BODY)
    event = send(intake, "a", blob)
    assert isinstance(event, Reported)
    assert event.update.blob == blob
    assert event.update.participant.bytes_up == len(blob)
    assert event.update.participant.version == OFFER.version
    assert answers == []  # the machine decides on the receipt


def test_a_refused_update_ends_the_devices_part_in_the_round(folder: Path) -> None:
    intake, answers = open_intake(folder)
    nan = np.full(SIZE, np.nan, "<f4").tobytes()
    assert send(intake, "a", frame(GOOD, nan)) == Declined(OFFER.round, "a")
    assert [device for device, _ in answers] == ["a"]


def test_a_refused_update_that_comes_again_is_answered_without_being_read(
    folder: Path,
) -> None:
    intake, answers = open_intake(folder)
    for _ in range(3):
        send(intake, "a", b"nonsense" * 400)
    assert len(answers) == 3
    assert intake.refused == {Reason.MALFORMED: 1}


def test_blocks_of_strangers_are_dropped(folder: Path) -> None:
    intake, answers = open_intake(folder)
    assert send(intake, "stranger", frame(GOOD, BODY)) is None
    assert intake.take_refused() == {"not_in_cohort": 1}
    assert intake.take_refused() == {}
    assert answers == []


def test_an_update_of_an_earlier_round_is_a_late_one(folder: Path) -> None:
    intake, _ = open_intake(folder)
    blob = frame(replace(GOOD, round=PAST.round), BODY)
    event = send(intake, "b", blob)
    assert isinstance(event, LateReported)
    assert (event.round, event.version) == (PAST.round, PAST.version)


def test_when_the_round_collects_no_more_its_updates_are_judged_as_late(
    folder: Path,
) -> None:
    intake, answers = open_intake(folder)
    intake.close()
    assert send(intake, "a", frame(GOOD, BODY)) == Declined(OFFER.round, "a")
    assert [receipt.reason for _, receipt in answers] == [Reason.WRONG_ROUND]


def test_an_update_that_only_the_store_remembers_is_answered(folder: Path) -> None:
    intake, answers = open_intake(folder)
    block = Block(BlobRef(RECEIPT.transfer + "0" * 48, 10), 0, 1)
    topic = TOPICS.device("a", "up", RECEIPT.transfer, "b", "0")
    assert intake.receive(topic, frame(block, b"x" * 10)) is None
    assert answers == [("a", RECEIPT)]


def test_a_new_connection_hears_the_last_receipt_that_the_store_remembers(
    folder: Path,
) -> None:
    intake, answers = open_intake(folder)
    for conn in (1, 1, 2):
        check_in(intake, "a", conn=conn)
    check_in(intake, "b")
    assert answers == [("a", RECEIPT)] * 2


def test_who_is_busy_is_free_again_with_its_update_its_word_or_its_refusal(
    folder: Path,
) -> None:
    intake, _ = open_intake(folder)
    for device in "ab":
        check_in(intake, device)
    intake.occupied({"a", "b"}, busy=True)
    assert free(intake) == ()
    check_in(intake, "a", busy=0)
    assert free(intake) == ("a",)
    intake.answer("b", UpdateReceipt(3, "0" * 16, Reason.STALE))
    assert free(intake) == ("a", "b")
    for reason, expected in ((Reason.BUSY, ("b",)), (Reason.TOO_HOT, ("a", "b"))):
        said = frame(Abandoned(3, reason))
        assert intake.receive(TOPICS.device("a", "evt"), said) is None
        assert free(intake) == expected


def test_a_device_that_does_not_know_yet_that_it_is_done_is_free(folder: Path) -> None:
    intake, _ = open_intake(folder)
    check_in(intake, "a", busy=2)  # its update of round 2 was accepted
    check_in(intake, "b", busy=2)
    assert free(intake) == ("a",)


def test_an_update_larger_than_the_layout_allows_is_not_begun(folder: Path) -> None:
    intake, _ = open_intake(folder)
    send(intake, "a", b"x" * (max_update_bytes(SIZE) + 1))
    assert set(intake.refused) == {Reason.TOO_LARGE}


def test_a_larger_update_is_asked_for_and_removed_once_it_is_answered(
    tmp_path: Path,
) -> None:
    needs: list[tuple[str, Need]] = []
    intake, answers = open_intake(tmp_path, needs)
    blob = b"nonsense" * 1000
    listing = Listing.of(blob, block_bytes=BLOCK)
    transfer = transfer_id(listing.head.blob)
    announcement = TOPICS.device("a", "up", transfer, "m")
    assert intake.receive(announcement, listing.frame) is None
    assert needs == [("a", Need(listing.head.blob, "f"))]
    parts = set(tmp_path.glob("*/a/*.part"))
    assert parts
    assert send(intake, "a", blob) == Declined(OFFER.round, "a")
    intake.tidy_up()
    assert not any(part.exists() for part in parts)
    intake.receive(announcement, listing.frame)
    assert [receipt.transfer for _, receipt in answers] == [transfer] * 2


def test_what_is_over_a_limit_is_counted_and_never_looked_into(tmp_path: Path) -> None:
    met: list[tuple[str, int]] = []

    def check(device: str, size: int) -> None:
        met.append((device, size))
        if device == "a" and size > 100:
            raise DecodeError("a is over it", reason=Reason.OVER_LIMIT)

    intake, answers = open_intake(tmp_path, check_limits=check)
    met.clear()
    blob = frame(GOOD, BODY)
    assert send(intake, "a", blob) is None
    assert intake.refused == {Reason.OVER_LIMIT: 1}
    assert isinstance(send(intake, "b", blob), Reported)
    assert answers == []
    assert [device for device, _ in met] == ["a", "b"]
    assert all(size >= len(blob) for _, size in met)
