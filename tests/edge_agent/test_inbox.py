"""What the server says, read into events, and errors into reasons."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.examples import MisfitError
from edge_agent.faults import is_fatal, reason_of
from edge_agent.inbox import receipt_event, round_event
from edge_agent.round_work import SelfTestError
from edge_agent.session import Offered, Receipted, RoundClosed
from edge_agent.state_files import StorageError
from tests.edge_agent.offers import offer_of
from wire_protocol.errors import (
    ConfigError,
    DecodeError,
    EdgefedError,
    EncodeError,
    Reason,
    TrainingError,
    TransportError,
)
from wire_protocol.framing import frame
from wire_protocol.messages import Abandoned, UpdateReceipt

OFFER = offer_of(5)


def test_an_offer_a_withdrawal_and_a_receipt_are_read() -> None:
    assert round_event("5", frame(OFFER), device="a") == Offered(OFFER, invited=True)
    assert round_event("5", frame(OFFER), device="c") == Offered(OFFER, invited=False)
    assert round_event("5", b"", device="a") == RoundClosed(5)
    receipt = UpdateReceipt(5, "5" * 16, Reason.STALE)
    assert receipt_event(frame(receipt)) == Receipted(5, "5" * 16, Reason.STALE)


WRONG = {
    "no round": ("x", b"", Reason.MALFORMED),
    "no ASCII": ("\u0665", b"", Reason.MALFORMED),
    "endless": ("1" * 11, b"", Reason.MALFORMED),
    "another round": ("6", frame(OFFER), Reason.WRONG_ROUND),
    "another message": ("5", frame(Abandoned(5, Reason.BUSY)), Reason.MALFORMED),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_offer_is_an_error(name: str) -> None:
    number, payload, reason = WRONG[name]
    with pytest.raises(DecodeError) as caught:
        round_event(number, payload, device="a")
    assert caught.value.reason is reason


@given(number=st.text(max_size=12), cut=st.integers(0, 400), noise=st.binary())
def test_whatever_the_bytes_reading_ends_with_an_event_or_an_error(
    number: str, cut: int, noise: bytes
) -> None:
    payload = frame(OFFER)[:cut] + noise
    with contextlib.suppress(DecodeError):
        event = round_event(number, payload, device="a")
        assert isinstance(event, Offered | RoundClosed)
    with contextlib.suppress(DecodeError):
        assert isinstance(receipt_event(payload), Receipted)


FAULTS: list[tuple[EdgefedError, Reason, bool]] = [
    (DecodeError("x"), Reason.FETCH_FAILED, False),
    (DecodeError("x", reason=Reason.WRONG_CODEC), Reason.WRONG_CODEC, False),
    (SelfTestError("x"), Reason.SELF_TEST_FAILED, False),
    (TrainingError("x"), Reason.TRAINING_FAILED, False),
    (EncodeError("x"), Reason.TRAINING_FAILED, False),
    (StorageError("x"), Reason.LOW_DISK, False),
    (TransportError("x"), Reason.FETCH_FAILED, False),
    (MisfitError("x"), Reason.WRONG_SCHEMA, True),
    (ConfigError("x"), Reason.FETCH_FAILED, True),
]


@pytest.mark.parametrize(
    ("error", "reason", "fatal"),
    FAULTS,
    ids=[f"{type(error).__name__} {reason}" for error, reason, _ in FAULTS],
)
def test_every_error_has_its_reason(
    error: EdgefedError, reason: Reason, fatal: bool
) -> None:
    assert reason_of(error) is reason
    assert is_fatal(error) == fatal
