"""What the server says to a device, read into events of the round machine.

Whatever the bytes are, reading gives an event or ``DecodeError``. This module is pure.
"""

from edge_agent.session import Event, Offered, Receipted, RoundClosed
from wire_protocol.errors import DecodeError, Reason
from wire_protocol.framing import expect
from wire_protocol.messages import RoundOffer, UpdateReceipt
from wire_protocol.topics import Topics, round_number


def filters(topics: Topics, device: str) -> tuple[str, ...]:
    """Return what ``device`` subscribes to, for as long as it runs."""
    return (
        topics.server_info,
        topics.round("+"),
        topics.device(device, "cmd", "receipt"),
        topics.device(device, "cmd", "need"),
        topics.device(device, "cmd", "renew"),
        topics.device(device, "cmd", "certificate"),
        topics.device(device, "availability"),
    )


def round_event(level: str, payload: bytes, *, device: str) -> Event:
    """Read what is on ``round/<level>``: an offer, or nothing once it is closed."""
    number = round_number(level)
    if not payload:
        return RoundClosed(number)
    offer, _ = expect(RoundOffer, payload)
    if offer.round != number:
        raise DecodeError(
            f"round {offer.round} offered on the topic of round {number}",
            reason=Reason.WRONG_ROUND,
        )
    return Offered(offer, invited=device in offer.cohort)


def receipt_event(payload: bytes) -> Receipted:
    """Read what is on ``cmd/receipt``."""
    receipt, _ = expect(UpdateReceipt, payload)
    return Receipted(receipt.round, receipt.transfer, receipt.reason)
