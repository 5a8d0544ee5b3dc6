"""The operators of ONNX that enlarge an image or a signal."""

from typing import Any, Final

import numpy as np

from model_zoo.importing.network import CannotError
from model_zoo.importing.onnx_given import Given, Made
from model_zoo.windows import Padding, Span

_NEAREST: Final = frozenset(
    [
        ("asymmetric", "floor"),
        *(("half_pixel", f"round_prefer_{way}") for way in ("floor", "ceil")),
        *(("pytorch_half_pixel", f"round_prefer_{way}") for way in ("floor", "ceil")),
    ]
)
"""Which all repeat every pixel when it is enlarged a whole number of times."""
_PADDINGS: Final[tuple[Padding, ...]] = ("valid", "same")
_MOST_ZEROS: Final = 2
"""That a kernel may grow by until its output is cut where ours is."""


def conv_transpose(given: Given) -> Made:
    """Return a transposed convolution, of a kernel with zeros at its ends if need be.

    PyTorch cuts the output as it is told, we as TensorFlow does. A kernel of 3 with a
    stride of 2, padding 1 and output padding 1 is one of 4 here that ends in zeros.
    """
    kernel, stride = given.convolution()
    channels, outputs, *size = kernel.shape
    if channels != given.layout.shape[-1]:
        raise CannotError(f"its kernel is {list(kernel.shape)}")
    if given.whole("group", 1) != 1:
        raise CannotError("it has groups")
    if "output_shape" in given.node.attributes:
        raise CannotError("it has an output_shape instead of pads")
    given.only("auto_pad", "NOTSET")
    padding, zeros = _as_ours(given, tuple(size), stride=stride)
    kernel = np.pad(kernel, ((0, 0), (0, 0), *((0, more) for more in zeros)))
    rank = len(size)
    order = (*range(2, rank + 2), 1, 0)
    weights = (
        np.ascontiguousarray(kernel.transpose(order)),
        given.weights_or_zeros(2, outputs),
    )
    wide: Any = kernel.shape[2:] if rank == 2 else kernel.shape[2]
    made = given.op(
        f"conv{rank}d_transpose",
        outputs,
        wide,
        weights=weights,
        stride=stride,
        padding=padding,
    )
    return [made], given.layout


def _as_ours(
    given: Given, size: tuple[int, ...], *, stride: int
) -> tuple[Padding, list[int]]:
    """Return our padding, and how many zeros each side of the kernel ends in."""
    rank = len(size)
    pads = given.sizes("pads", (0,) * (2 * rank))
    longer = given.sizes("output_padding", (0,) * rank)
    sides = list(zip(size, pads[:rank], pads[rank:], longer, strict=True))
    for padding in _PADDINGS:
        found = [
            [
                zeros
                for zeros in range(_MOST_ZEROS + 1)
                if _cut(window + zeros, stride, padding=padding)
                == (before, after - more + zeros)
            ]
            for window, before, after, more in sides
        ]
        if all(found):
            return padding, [zeros[0] for zeros in found]
    raise CannotError(
        f"its output is cut by {list(pads)} at the ends, which no padding here does"
    )


def _cut(window: int, stride: int, *, padding: Padding) -> tuple[int, int]:
    """Return what our padding cuts off the output; negative: what it adds."""
    # as the convolution that leads back would pad: each input its own window
    length = stride if padding == "same" else max(stride, window)
    span = Span.over(length, window=window, stride=stride, padding=padding)
    return span.before, span.after


def resize(given: Given) -> Made:
    """Repeat every pixel along each side."""
    given.layout.need_channels_first()
    given.only("mode", "nearest")
    way = tuple(
        given.node.attributes.get(key, default)
        for key, default in (
            ("coordinate_transformation_mode", "half_pixel"),
            ("nearest_mode", "round_prefer_floor"),
        )
    )
    if way not in _NEAREST:
        raise CannotError(f"it takes other pixels than the nearest: {way}")
    *sides, channels = given.layout.shape
    if given.has(3):
        wanted = given.constant(3).reshape(-1)[1:]
        now = np.array([channels, *sides])
        times = wanted / now if wanted.shape == now.shape else wanted
    else:
        times = given.constant(2).reshape(-1)[1:]
    factor = float(times[-1]) if times.size else 0.0
    plain = [1.0, *[factor] * len(sides)]
    if times.tolist() != plain or not factor.is_integer() or not 1 <= factor <= 64:
        raise CannotError(f"it enlarges {times.tolist()[:4]} times")
    return [given.op("upsample", int(factor))], given.layout
