"""Outlets: where the intake passes things on to, and where it looks them up."""

from collections.abc import Callable
from dataclasses import dataclass

from broker_server.acceptance import Terms
from wire_protocol.blobs import Need
from wire_protocol.errors import Reason
from wire_protocol.messages import CheckIn, UpdateReceipt


def _pass_over(_name: str, _what: object) -> None:
    """Of a federation that nobody joins."""


@dataclass(frozen=True, slots=True)
class Outlets:
    """Where the intake passes things on to.

    ``withdraw`` clears a round that is not open; ``ask`` raises ``DecodeError`` for a
    blob that is not on offer; ``need`` tells a device what to send of its update.
    ``enrol`` takes a request to join, by claim, and ``renew`` one of a member; both
    raise ``DecodeError`` for what is not looked into. ``knock`` hears of who is no
    member, and on which of its topics something is; ``note_offence`` of why something
    of a known device was refused.
    """

    answer: Callable[[str, UpdateReceipt], None]
    withdraw: Callable[[int], None]
    ask: Callable[[str, Need], None]
    need: Callable[[str, Need], None]
    note_device: Callable[[str, CheckIn], None]
    enrol: Callable[[str, bytes], None] = _pass_over
    renew: Callable[[str, bytes], None] = _pass_over
    knock: Callable[[str, str], None] = _pass_over
    note_offence: Callable[[str, Reason], None] = _pass_over


@dataclass(frozen=True, slots=True)
class Memory:
    """What the intake looks up, for it may long be out of its own mind.

    ``terms`` are those of a round that no longer collects; it raises
    ``RefusedUpdateError`` where an update of that round can no longer count. ``barred``
    tells whether a device is in quarantine.
    """

    receipt: Callable[[str, str], UpdateReceipt | None]
    last_receipt: Callable[[str], UpdateReceipt | None]
    accepted: Callable[[int, str], bool]
    terms: Callable[[int], Terms]
    barred: Callable[[str], bool] = lambda _: False
