"""Windows over images: how many fit, what they cover, and the way back.

Used by convolutions and pools; a signal ``[N, L, C]`` is an image of height 1. Pure.
"""

from dataclasses import dataclass
from typing import Literal, Self

from model_zoo.backend import Backend, Pair, Shape, Tensor
from wire_protocol.errors import ConfigError

Padding = Literal["same", "valid"]


@dataclass(frozen=True, slots=True)
class Span:
    """Windows along one dimension: zeros before and after it; negative: cut off."""

    count: int
    before: int
    after: int

    @classmethod
    def over(cls, length: int, *, window: int, stride: int, padding: Padding) -> Self:
        """Place windows as TensorFlow does, so that they cover the span exactly."""
        if padding == "valid" and length < window:
            raise ConfigError(
                f"a window of {window} does not fit into {length}",
                remedy="use a smaller window or same padding",
            )
        if padding == "same":
            count = -(-length // stride)
            total = (count - 1) * stride + window - length
            before = max(total, 0) // 2
            return cls(count, before, total - before)
        count = (length - window) // stride + 1
        return cls(count, 0, (count - 1) * stride + window - length)


def fit(b: Backend, x: Tensor, spans: tuple[Span, Span]) -> Tensor:
    """Pad or cut the image ``x[N,H,W,C]`` to what the windows cover."""
    count, rows, columns, channels = b.shape(x)
    kept = (rows + min(spans[0].after, 0), columns + min(spans[1].after, 0))
    if kept != (rows, columns):
        x = b.crop(x, (0, 0, 0, 0), size=(count, *kept, channels))
    widths = tuple((span.before, max(span.after, 0)) for span in spans)
    if any(width != (0, 0) for width in widths):
        x = b.pad(x, ((0, 0), *widths, (0, 0)))
    return x


def unfit(b: Backend, dx: Tensor, spans: tuple[Span, Span]) -> Tensor:
    """Apply the adjoint of ``fit``."""
    widths = tuple((0, max(-span.after, 0)) for span in spans)
    if any(width != (0, 0) for width in widths):
        dx = b.pad(dx, ((0, 0), *widths, (0, 0)))
    before = (spans[0].before, spans[1].before)
    after = (max(spans[0].after, 0), max(spans[1].after, 0))
    if (*before, *after) == (0, 0, 0, 0):
        return dx
    count, rows, columns, channels = b.shape(dx)
    sides = (rows - before[0] - after[0], columns - before[1] - after[1])
    return b.crop(dx, (0, *before, 0), size=(count, *sides, channels))


def repeated(b: Backend, y: Tensor, window: Pair) -> Tensor:
    """Repeat every pixel of ``y[N,H,W,C]`` over a window."""
    count, rows, columns, channels = b.shape(y)
    down, right = window
    if right > 1:
        y = b.reshape(y, (count * rows * columns, 1, channels))
        y = b.tile(y, (1, right, 1))
    columns *= right
    if down > 1:
        y = b.reshape(y, (count * rows, 1, columns * channels))
        y = b.tile(y, (1, down, 1))
    return b.reshape(y, (count, rows * down, columns, channels))


def as_image(shape: Shape) -> Shape:
    """Return ``[..., 1, L, C]`` of a signal's shape, an image's shape as it is."""
    match shape:
        case (length, channels):
            return (1, length, channels)
        case (_, _, _):
            return shape
        case _:
            raise ConfigError(
                f"windows slide over [L, C] or [H, W, C], not {shape}",
                remedy="put this layer before flatten and global pools",
            )
