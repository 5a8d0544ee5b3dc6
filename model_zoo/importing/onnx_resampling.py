"""The operators of ONNX that enlarge an image or a signal."""

from typing import Any, Final

import numpy as np

from model_zoo.importing.network import CannotError
from model_zoo.importing.onnx_given import Given, Made

_NEAREST: Final = frozenset(
    [
        ("asymmetric", "floor"),
        *(("half_pixel", f"round_prefer_{way}") for way in ("floor", "ceil")),
        *(("pytorch_half_pixel", f"round_prefer_{way}") for way in ("floor", "ceil")),
    ]
)
"""Which all repeat every pixel when it is enlarged a whole number of times."""
_WIDER: Final = 3
"""By how many zeros a kernel may grow until its output is cut where ours is, and 1."""


def conv_transpose(given: Given) -> Made:
    """Return a transposed convolution, of a kernel with zeros at its ends if need be.

    PyTorch cuts the output as it is told, we as TensorFlow does. A kernel of 3 with a
    stride of 2, padding 1 and output padding 1 is one of 4 here that ends in zeros.
    """
    given.layout.need_channels_first()
    *sides, channels = given.layout.shape
    rank, kernel = len(sides), given.weights(1)
    ones = (1,) * rank
    if kernel.ndim != rank + 2 or 0 in kernel.shape or kernel.shape[0] != channels:
        raise CannotError(f"its kernel is {list(kernel.shape)}")
    _, outputs, *size = kernel.shape
    if given.whole("group", 1) != 1:
        raise CannotError("it has groups")
    if given.sizes("dilations", ones) != ones:
        raise CannotError("dilations are not 1")
    if given.sizes("kernel_shape", tuple(size)) != tuple(size):
        raise CannotError("kernel_shape is not its kernel's")
    if "output_shape" in given.node.attributes:
        raise CannotError("it has an output_shape instead of pads")
    given.only("auto_pad", "NOTSET")
    stride = given.equal("strides", ones)
    padding, zeros = _as_ours(given, tuple(size), stride=stride)
    kernel = np.pad(kernel, ((0, 0), (0, 0), *((0, more) for more in zeros)))
    bias = given.weights(2) if given.has(2) else np.zeros(outputs, np.float32)
    order = (*range(2, rank + 2), 1, 0)
    weights = (np.ascontiguousarray(kernel.transpose(order)), bias)
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
) -> tuple[str, tuple[int, ...]]:
    """Return our padding, and how many zeros each side of the kernel ends in."""
    rank = len(size)
    pads = given.sizes("pads", (0,) * (2 * rank))
    longer = given.sizes("output_padding", (0,) * rank)
    cuts = [
        (before, after - more)
        for before, after, more in zip(pads[:rank], pads[rank:], longer, strict=True)
    ]
    for padding in ("valid", "same"):
        zeros = [
            next(
                (
                    more
                    for more in range(_WIDER)
                    if (before, after + more)
                    == _cut(window + more, stride, padding=padding)
                ),
                None,
            )
            for window, (before, after) in zip(size, cuts, strict=True)
        ]
        if None not in zeros:
            return padding, tuple(more for more in zeros if more is not None)
    raise CannotError(
        f"its output is cut by {cuts[0]} at the ends, which no padding here does"
    )


def _cut(window: int, stride: int, *, padding: str) -> tuple[int, int]:
    """Return what our padding cuts off the output; negative: what it adds."""
    total = window - stride
    if total < 0 or padding == "valid":
        return 0, min(total, 0)
    return total // 2, total - total // 2


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
