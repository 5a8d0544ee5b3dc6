"""Acceptance: whether one client update may count.

Whatever bytes a device sends, the outcome is a finite delta or a ``RefusedUpdateError``
whose reason is counted and sent back. This module is pure.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Self

import numpy as np

from broker_server.clipping import norm_of
from broker_server.records import RoundTerms
from wire_protocol.blobs import SHORT_DIGEST
from wire_protocol.codecs import codec_named
from wire_protocol.errors import DecodeError, Reason
from wire_protocol.framing import expect
from wire_protocol.messages import ClientUpdate, RoundOffer


@dataclass(frozen=True, slots=True)
class Terms:
    """What an update of a round must match: of the open one, or of an earlier one.

    ``version`` is the base and ``base`` the digest of its parameters.
    """

    round: int
    version: int
    base: str
    layout: str
    codec: str
    cohort: Collection[str]

    @classmethod
    def of(cls, offer: RoundOffer) -> Self:
        """Return the terms of an offer."""
        return cls(
            round=offer.round,
            version=offer.version,
            base=offer.params,
            layout=offer.layout,
            codec=offer.codec,
            cohort=frozenset(offer.cohort),
        )


def late_terms(
    past: RoundTerms | None, *, tip: int, max_staleness: int, layout: str, codec: str
) -> Terms:
    """Return the terms of an update that comes after its round, now at version ``tip``.

    ``past`` is what is known of that round, ``layout`` and ``codec`` what holds today.

    Raises:
        RefusedUpdateError: There was no such round, or its version is too old.
    """
    if past is None:
        raise RefusedUpdateError(
            "its round is none of this server's", reason=Reason.WRONG_ROUND
        )
    staleness = tip - past.version
    if not max_staleness or staleness > max_staleness:
        raise RefusedUpdateError(
            f"late by {staleness} versions, at most {max_staleness} are accepted",
            reason=Reason.STALE,
        )
    return Terms(
        round=past.round,
        version=past.version,
        base=past.base,
        layout=layout,
        codec=codec,
        cohort=frozenset(past.cohort),
    )


class RefusedUpdateError(DecodeError):
    """The update never counts, nor does anything else its device has of that round."""


def head_of(blob: bytes) -> tuple[ClientUpdate, bytes]:
    """Return the head of an update and its encoded delta.

    Raises:
        RefusedUpdateError: It is no update.
    """
    try:
        return expect(ClientUpdate, blob)
    except DecodeError as error:
        raise RefusedUpdateError(error.problem, reason=error.reason) from error


def accept(
    terms: Terms, message: ClientUpdate, *, body: bytes, device: str, size: int
) -> float:
    """Return the L2 norm of the delta, if an update of ``device`` may count.

    The norm is recomputed from what was decoded: none that a device tells is believed.

    Raises:
        RefusedUpdateError: It does not belong to this round, cohort or model, or does
            not hold a finite delta of ``size`` values.
    """
    for reason, came, expected in (
        (Reason.WRONG_ROUND, message.round, terms.round),
        (Reason.NOT_IN_COHORT, device in terms.cohort, True),
        (Reason.WRONG_SCHEMA, message.layout, terms.layout),
        (Reason.WRONG_BASE, message.base, terms.base[:SHORT_DIGEST]),
        (Reason.WRONG_CODEC, _family(message.codec), _family(terms.codec)),
    ):
        if came != expected:
            raise RefusedUpdateError(
                f"{reason}: expected {expected}, not {came}", reason=reason
            )
    try:
        delta = codec_named(message.codec).decode(body, size)
    except DecodeError as error:
        raise RefusedUpdateError(error.problem, reason=error.reason) from error
    # The codec promises it; a model is too dear to rest on one promise.
    if not np.isfinite(delta).all():
        raise RefusedUpdateError("a delta is finite", reason=Reason.NOT_FINITE)
    return norm_of(delta)


def _family(codec: str) -> str:
    """Return the codec's name without its setting: decoding does not depend on it."""
    return codec.partition(":")[0]
