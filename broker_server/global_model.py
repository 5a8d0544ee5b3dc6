"""The global model, and the closed loop that brings it down to the devices.

The server keeps the true parameters and what devices *hold*: the sum of the quantized
deltas they were sent. Each version's delta is quantized against what they hold, so what
one delta rounds away is in the next (docs/protocol.md, "A round"). This module is pure.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from broker_server.server_optimizers import ServerOptimizer
from wire_protocol.codecs import codec_named
from wire_protocol.errors import DecodeError, EncodeError, Reason
from wire_protocol.framing import expect, frame
from wire_protocol.messages import DeltaRef, ModelDelta
from wire_protocol.params import ParamLayout, Vector

MAX_LISTED_DELTAS: Final = 8


@dataclass(frozen=True, slots=True, eq=False)
class GlobalModel:
    """One version: true ``params``, what devices hold, and the optimizer's momentum."""

    version: int
    params: Vector
    held: Vector
    momentum: Vector

    @property
    def keyframe(self) -> bytes:
        """Raw little-endian float32 of what devices hold."""
        return np.ascontiguousarray(self.held, "<f4").tobytes()


def first_model(
    layout: ParamLayout,
    optimizer: ServerOptimizer,
    *,
    seed: int,
    initial: Vector | None = None,
) -> GlobalModel:
    """Return version 0: ``initial``, shape ``[size]``, or drawn from ``seed``."""
    rng = np.random.default_rng(np.random.SeedSequence([seed, 0]))
    params = layout.initial(rng) if initial is None else initial
    return GlobalModel(0, params, params, optimizer.init(layout.size))


def advance(
    model: GlobalModel, mean: Vector, *, optimizer: ServerOptimizer, codec: str
) -> tuple[GlobalModel, bytes]:
    """Return the next version and the blob of the delta that leads to it.

    Raises:
        EncodeError: The step is not finite.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        params, momentum = optimizer.apply(model.params, model.momentum, mean)
        missing = params - model.held
    if not (np.isfinite(missing).all() and np.isfinite(momentum).all()):
        raise EncodeError("the merged model is not finite")
    version = model.version + 1
    head = ModelDelta(version, codec)
    blob = frame(head, codec_named(codec).encode(missing))
    del missing
    held = follow(model.held, blob, version=version)
    return GlobalModel(version, params, held, momentum), blob


def follow(held: Vector, blob: bytes, *, version: int) -> Vector:
    """Return what a device holds after the delta of ``version``; as devices do it."""
    head, body = expect(ModelDelta, blob)
    if head.version != version:
        raise DecodeError(
            f"expected the delta of version {version}, not {head.version}",
            reason=Reason.WRONG_BASE,
        )
    followed = held.copy()
    at = 0
    for chunk in codec_named(head.codec).chunks(body, held.size):
        followed[at : at + chunk.size] += chunk
        at += chunk.size
    return followed


def listed_deltas(
    deltas: Sequence[DeltaRef], *, keyframe_bytes: int
) -> tuple[DeltaRef, ...]:
    """Return the newest ``deltas`` that beat the keyframe together; oldest first."""
    listed: list[DeltaRef] = []
    total = 0
    for delta in reversed(deltas[-MAX_LISTED_DELTAS:]):
        total += delta.blob.size
        if total >= keyframe_bytes:
            break
        listed.insert(0, delta)
    return tuple(listed)
