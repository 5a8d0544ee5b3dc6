"""The layers of Keras that enlarge an image or a signal."""

from collections.abc import Callable

from model_zoo.importing.keras_given import (
    Given,
    Made,
    activated,
    check_convolution,
)
from model_zoo.importing.network import CannotError, Value


def transposed(rank: int) -> Callable[[Given], Made]:
    """Return the maker of a transposed convolution over ``rank`` sides."""

    def made(given: Given) -> Made:
        padding = check_convolution(given, rank)
        given.only("output_padding", None)
        filters = given.whole("filters")
        size = given.sizes("kernel_size", rank)
        stride = given.equal("strides", rank, default=1)
        weights = (
            given.kernel("vars/0", *size, filters, given.shape[-1]),
            given.bias("vars/1", filters),
        )
        window: Value = size if rank == 2 else size[0]
        conv = given.op(
            f"conv{rank}d_transpose",
            filters,
            window,
            weights=weights,
            stride=stride,
            padding=padding,
        )
        return [conv, *activated(given)]

    return made


def upsampling(rank: int) -> Callable[[Given], Made]:
    """Return the maker of a repetition along ``rank`` sides."""

    def made(given: Given) -> Made:
        if len(given.shape) != rank + 1:
            raise CannotError(f"its input has shape {list(given.shape)}")
        if rank == 2:
            given.only("data_format", "channels_last")
            given.only("interpolation", "nearest")
        return [given.op("upsample", given.equal("size", rank))]

    return made
