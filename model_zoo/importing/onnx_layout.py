"""Where the channels are: ONNX has them first, models here last. Pure.

Every tensor of the file is followed with a note which of our axes each of its axes is.
Weights behind a flattening are put in our order.
"""

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from model_zoo.importing.network import CannotError

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """A tensor on its way.

    Attributes:
        shape: Ours, without the batch.
        axes: For each axis of the file's tensor, behind the batch, which of ours it
            is; none: the file's has ones behind the channels, after a global pool.
        flat: Shape and axes before it was flattened, until a dense layer mixes it.
    """

    shape: Shape
    axes: Shape
    flat: "Layout | None" = None

    @classmethod
    def channels_first(cls, shape: Shape) -> Self:
        """Return the layout of the file's ``[C, H, W]`` or ``[C, L]``."""
        rank = len(shape)
        return cls((*shape[1:], shape[0]), (rank - 1, *range(rank - 1)))

    @classmethod
    def same(cls, shape: Shape) -> Self:
        """Return the layout of a tensor that lies as ours does."""
        return cls(shape, tuple(range(len(shape))))

    @property
    def is_channels_first(self) -> bool:
        """Whether convolutions and pools of the file fit."""
        rank = len(self.shape)
        return rank > 1 and self.axes == (rank - 1, *range(rank - 1))

    def need_channels_first(self) -> None:
        """Raise ``CannotError`` unless convolutions and pools fit."""
        if not self.is_channels_first:
            raise CannotError(f"its input is no image or signal, but {self.shape}")

    def transposed(self, order: Shape) -> Self:
        """Return the layout after a transposition ``order`` of the file's tensor."""
        if sorted(order) != list(range(len(self.axes) + 1)) or order[0] != 0:
            raise CannotError(f"it moves axes by {list(order)}")
        return replace(self, axes=tuple(self.axes[place - 1] for place in order[1:]))

    def flattened(self) -> Self:
        """Return the layout of the flat tensor."""
        size = int(np.prod(self.shape))
        if len(self.shape) == 1:
            return replace(self, axes=(0,))
        return replace(
            self, shape=(size,), axes=(0,), flat=Layout(self.shape, self.axes)
        )

    def ours(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return values along the flat axis (the first) in our order."""
        if self.flat is None:
            return values
        before, rest = self.flat, values.shape[1:]
        if values.shape[:1] != self.shape:
            raise CannotError(f"has {len(values)} values for {self.shape[0]} places")
        sides = tuple(before.shape[axis] for axis in before.axes)
        order = tuple(before.axes.index(axis) for axis in range(len(before.axes)))
        behind = tuple(range(len(order), len(order) + len(rest)))
        spread = values.reshape(*sides, *rest).transpose(*order, *behind)
        return np.ascontiguousarray(spread.reshape(-1, *rest))

    def by_channel(self, constant: NDArray[Any]) -> NDArray[Any]:
        """Return a broadcast constant as one value for each of our channels."""
        channels = self.shape[-1]
        if constant.size == 1:
            return np.full(channels, constant.reshape(-1)[0])
        rank = len(self.axes)
        sides = (1,) * (rank + 1 - constant.ndim) + constant.shape
        wanted = [1] * (rank + 1)
        if self.axes:
            wanted[1 + self.axes.index(len(self.shape) - 1)] = channels
        if list(sides) != wanted:
            raise CannotError(
                f"its constant {list(constant.shape)} is not one for each channel"
            )
        return self.ours(constant.reshape(-1))
