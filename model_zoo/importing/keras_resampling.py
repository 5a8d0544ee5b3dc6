"""The layers of Keras that enlarge an image or a signal."""

from collections.abc import Callable

from model_zoo.importing.keras_given import Given, Made, convolved
from model_zoo.importing.network import CannotError


def transposed(rank: int) -> Callable[[Given], Made]:
    """Return the maker of a transposed convolution over ``rank`` sides."""
    kind = f"conv{rank}d_transpose"
    return lambda given: convolved(given, rank, kind=kind, turned=True)


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
