"""The global model a device holds, and how it gets from there to the offered one.

This module is pure.
"""

from dataclasses import dataclass

import numpy as np

from wire_protocol.codecs import codec_named
from wire_protocol.errors import DecodeError, Reason
from wire_protocol.framing import expect
from wire_protocol.messages import DeltaRef, ModelDelta, RoundOffer
from wire_protocol.params import Vector, params_digest


@dataclass(frozen=True, slots=True)
class HeldModel:
    """A version of the global parameters, shape ``[size]``, with their digest."""

    version: int
    params: Vector
    digest: str


def missing_deltas(held: HeldModel | None, offer: RoundOffer) -> list[DeltaRef] | None:
    """Return the deltas that lead from ``held`` to the offer; None for the keyframe.

    Deltas are taken when the offer lists all of them and they are smaller together
    than the keyframe. Nothing is missing when the digest is already right.
    """
    if held is None:
        return None
    if held.digest == offer.params:
        return []
    by_version = {delta.version: delta for delta in offer.deltas}
    wanted = range(held.version + 1, offer.version + 1)
    if not wanted or any(version not in by_version for version in wanted):
        return None
    deltas = [by_version[version] for version in wanted]
    if sum(delta.blob.size for delta in deltas) >= offer.keyframe.size:
        return None
    return deltas


def with_delta(params: Vector, frame: bytes, *, version: int) -> Vector:
    """Return ``params`` moved on to ``version``, bit for bit as on every machine.

    Raises:
        DecodeError: The frame is no delta to ``version`` for so many parameters.
    """
    head, body = expect(ModelDelta, frame)
    if head.version != version:
        raise DecodeError(f"a delta to version {head.version}, expected {version}")
    return params + codec_named(head.codec).decode(body, params.size)


def from_keyframe(keyframe: bytes, *, size: int) -> Vector:
    """Return the parameters of a keyframe, raw little-endian float32.

    Raises:
        DecodeError: It has another size, or a value that is not finite.
    """
    if len(keyframe) != 4 * size:
        raise DecodeError(
            f"a keyframe of {size} values has {4 * size} bytes, not {len(keyframe)}",
            reason=Reason.WRONG_SCHEMA,
        )
    params = np.frombuffer(keyframe, "<f4").astype(np.float32)
    if not np.isfinite(params).all():
        raise DecodeError("the keyframe is not finite", reason=Reason.NOT_FINITE)
    return params


def checked(params: Vector, offer: RoundOffer) -> HeldModel:
    """Return the offered model, or raise ``DecodeError``: the digest is another."""
    digest = params_digest(params)
    if digest != offer.params:
        raise DecodeError(
            f"version {offer.version} has digest {digest[:12]} here, "
            f"{offer.params[:12]} on the server"
        )
    return HeldModel(offer.version, params, digest)
