"""Acceptance: whether one client update may count in the open round.

Whatever bytes a device sends, the outcome is an ``Accepted`` or a ``DecodeError`` whose
reason is counted and sent back. This module is pure.
"""

from dataclasses import dataclass

import numpy as np

from wire_protocol.blobs import SHORT_DIGEST
from wire_protocol.codecs import codec_named
from wire_protocol.errors import DecodeError, Reason
from wire_protocol.framing import expect
from wire_protocol.messages import ClientUpdate, RoundOffer
from wire_protocol.params import Vector


@dataclass(frozen=True, slots=True)
class Accepted:
    """An update that passed every check, and its delta, float32 ``[size]``."""

    message: ClientUpdate
    delta: Vector


class RefusedUpdateError(DecodeError):
    """The update never counts; ``ours`` unless it was meant for another round.

    Its device is told so and has nothing else to send: the round must not wait for it.
    """

    def __init__(self, problem: str, *, reason: Reason, ours: bool) -> None:
        super().__init__(problem, reason=reason)
        self.ours = ours


def accept(offer: RoundOffer, *, device: str, blob: bytes, size: int) -> Accepted:
    """Check an update of ``device`` against the open round's offer.

    Raises:
        RefusedUpdateError: It does not belong to this round, cohort or model, or does
            not hold a finite delta of ``size`` values.
    """
    try:
        message, body = expect(ClientUpdate, blob)
    except DecodeError as error:
        raise RefusedUpdateError(
            error.problem, reason=error.reason, ours=True
        ) from error
    for reason, came, expected in (
        (Reason.WRONG_ROUND, message.round, offer.round),
        (Reason.NOT_IN_COHORT, device in offer.cohort, True),
        (Reason.WRONG_SCHEMA, message.layout, offer.layout),
        (Reason.WRONG_BASE, message.base, offer.params[:SHORT_DIGEST]),
        (Reason.WRONG_CODEC, _family(message.codec), _family(offer.codec)),
    ):
        if came != expected:
            raise RefusedUpdateError(
                f"{reason}: expected {expected}, not {came}",
                reason=reason,
                ours=reason is not Reason.WRONG_ROUND,
            )
    try:
        delta = codec_named(message.codec).decode(body, size)
    except DecodeError as error:
        raise RefusedUpdateError(
            error.problem, reason=error.reason, ours=True
        ) from error
    # The codec promises it; a model is too dear to rest on one promise.
    if not np.isfinite(delta).all():
        raise RefusedUpdateError(
            "a delta is finite", reason=Reason.NOT_FINITE, ours=True
        )
    return Accepted(message, delta)


def _family(codec: str) -> str:
    """Return the codec's name without its setting: decoding does not depend on it."""
    return codec.partition(":")[0]
