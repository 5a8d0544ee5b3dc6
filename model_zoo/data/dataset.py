"""One data set: examples, whose they are, and which of them judge.

What ``y`` holds depends on the task:

* ``classification``: class numbers; ``classes`` names them.
* ``regression``: targets, and ``binary``: bits as 0.0 or 1.0; ``classes`` is empty.
* ``reconstruction``: 0 for a normal example and 1 for an anomalous one. It only judges:
  a device holds normal examples and no ``y``.

Two masks carry the two honest ways of judging a federated model:

* ``held_out``: examples kept aside from people who also train;
* ``unseen``: *every* example of people who never train.

Examples are what the sensor gives (pixels, m/s2, rad/s); scaling is the model's first
layer, so that a device feeds an artifact what it measures. This module is pure.

>>> set_ = Dataset(
...     name="toy", x=np.zeros((2, 4), np.float32), y=np.array([0, 1], np.int32),
...     classes=("no", "yes"), held_out=np.array([False, True]),
... )
>>> len(set_), set_.example_shape, set_.clients
(2, (4,), ())
"""

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from wire_protocol.errors import ConfigError

Examples = NDArray[np.float32]
"""Examples, shape ``[N, ...]``."""
Labels = NDArray[np.int32]
"""Class numbers, shape ``[N]``, each from 0 to the number of classes - 1."""
Targets: TypeAlias = NDArray[np.int32] | NDArray[np.float32]
"""``Labels``, or float32 targets of shape ``[N, K]``."""
Mask = NDArray[np.bool_]
"""One flag for each example, shape ``[N]``."""
Task: TypeAlias = Literal["classification", "regression", "binary", "reconstruction"]


def _nobody() -> NDArray[np.int32]:
    return np.zeros(0, np.int32)


def _none() -> Mask:
    return np.zeros(0, np.bool_)


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """Examples ``x`` with targets ``y``, natural clients and judging masks.

    ``client[i]`` is the place in ``clients`` of the one whose example ``i`` is; a set
    without natural clients has neither. An empty mask means that no example is marked.

    Raises:
        ConfigError: The arrays contradict each other, or a value is not finite.
    """

    name: str
    x: Examples
    y: Targets
    classes: tuple[str, ...] = ()
    held_out: Mask = field(default_factory=_none)
    unseen: Mask = field(default_factory=_none)
    client: NDArray[np.int32] = field(default_factory=_nobody)
    clients: tuple[str, ...] = ()
    task: Task = "classification"

    def __post_init__(self) -> None:
        n = len(self.y)
        for mask in ("held_out", "unseen"):
            if not getattr(self, mask).size:
                object.__setattr__(self, mask, np.zeros(n, np.bool_))
        if not self.clients and not self.client.size:
            object.__setattr__(self, "client", np.full(n, -1, np.int32))
        self._check_y()
        self._check(
            "x", self.x.dtype == np.float32 and self.x.ndim > 1 and len(self.x) == n
        )
        for mask in ("held_out", "unseen"):
            flags: Mask = getattr(self, mask)
            self._check(mask, flags.dtype == np.bool_ and flags.shape == (n,))
        self._check(
            "client", self.client.dtype == np.int32 and self.client.shape == (n,)
        )
        owners = (0, len(self.clients)) if self.clients else (-1, 0)
        self._within("client", self.client, owners)
        if not np.isfinite(self.x).all():
            raise ConfigError(f"{self.name}: x has a value that is not finite")

    def _check_y(self) -> None:
        n, y = len(self.y), self.y
        if self.task in ("classification", "reconstruction"):
            self._check("y", y.dtype == np.int32 and y.shape == (n,) and n > 0)
            kinds = 2 if self.task == "reconstruction" else len(self.classes)
            self._within("y", y, (0, kinds))
            return
        self._check("y", y.dtype == np.float32 and y.ndim == 2 and y.size > 0)
        if not np.isfinite(y).all():
            raise ConfigError(f"{self.name}: y has a value that is not finite")
        if self.task == "binary" and not np.isin(y, (0, 1)).all():
            raise ConfigError(f"{self.name}: y has a value that is neither 0 nor 1")

    def _check(self, array: str, holds: bool) -> None:
        if not holds:
            found: NDArray[np.generic] = getattr(self, array)
            raise ConfigError(
                f"{self.name}: {array} is {found.dtype} {list(found.shape)}, which "
                f"does not fit {len(self.y)} examples"
            )

    def _within(self, array: str, values: Targets, bounds: tuple[int, int]) -> None:
        low, high = int(values.min()), int(values.max())
        if low < bounds[0] or high >= bounds[1]:
            raise ConfigError(
                f"{self.name}: {array} goes from {low} to {high}; "
                f"{bounds[0]} to {bounds[1] - 1} was expected"
            )

    def __len__(self) -> int:
        return len(self.y)

    @property
    def example_shape(self) -> tuple[int, ...]:
        """Shape of one example."""
        return self.x.shape[1:]

    @property
    def trainable(self) -> Mask:
        """Examples that a device may learn from: all, or the normal ones."""
        if self.task == "reconstruction":
            return np.asarray(self.y == 0)
        return np.ones(len(self), np.bool_)
