"""Error feedback: what a lossy codec left out of one update goes into the next.

A device remembers the last thing it sent: what was meant, what the codec made of it,
and its fate. The residual follows from these, so it can be kept on disk at any moment
and is the same to the bit afterwards: the server's receipt leaves what was left out; an
update that does not count, or whose fate was never told, is kept whole. So nothing a
device learned is lost or sent twice, whatever the network repeats. No decay: any was
measured to be worse. This module is pure.

Source: Seide et al., "1-Bit Stochastic Gradient Descent" (Interspeech 2014);
Karimireddy et al., "Error Feedback Fixes SignSGD" (ICML 2019).

>>> import numpy as np
>>> delta = np.array([1.0, 0.25], np.float32)
>>> sent = encode(delta, residual=None, codec=codec_named("uq"))
>>> counted = Sent(sent.meant, sent.payload, sent.codec, sent.fate.counted())
>>> decoded = codec_named("uq").decode(sent.payload, 2)
>>> bool(np.allclose(decoded + counted.residual(), delta))
True
"""

from dataclasses import dataclass
from enum import StrEnum

from wire_protocol.codecs import Codec, codec_named
from wire_protocol.errors import EncodeError
from wire_protocol.params import Vector


class Fate(StrEnum):
    """What became of an update. A refusal is final; so an echo changes nothing."""

    UNTOLD = "untold"
    COUNTED = "counted"
    FOLDED_BACK = "folded_back"

    def counted(self) -> "Fate":
        """Return the fate after the server has counted the update."""
        return Fate.COUNTED if self is Fate.UNTOLD else self

    def folded_back(self) -> "Fate":
        """Return the fate after the server has said that it does not count."""
        return Fate.FOLDED_BACK


@dataclass(frozen=True, slots=True)
class Sent:
    """The last encoded update.

    Attributes:
        meant: Delta and residual together, shape ``[size]``.
        payload: What the codec made of it.
        codec: The codec's name.
        fate: What the server made of it.
    """

    meant: Vector
    payload: bytes
    codec: str
    fate: Fate = Fate.UNTOLD

    def residual(self) -> Vector:
        """Return what remains to be sent, shape ``[size]``.

        Raises:
            DecodeError: The payload is not one of this codec and size.
        """
        if self.fate is not Fate.COUNTED:
            return self.meant
        return self.meant - codec_named(self.codec).decode(
            self.payload, self.meant.size
        )


def encode(delta: Vector, *, residual: Vector | None, codec: Codec) -> Sent:
    """Return ``delta``, shape ``[size]``, plus the residual, encoded.

    Raises:
        EncodeError: The two have different sizes, or their sum is not finite.
    """
    if residual is not None and delta.shape != residual.shape:
        raise EncodeError(
            f"the residual has shape {residual.shape}, the delta {delta.shape}"
        )
    meant = delta if residual is None else delta + residual
    return Sent(meant, codec.encode(meant), codec.name)
