"""What an importer makes of a file: operations in a row, with their weights.

An operation is named as the layer's function in this package, so that a definition can
be written from it and a model built of it. Weights lie as the layer has its parameters.
This module is pure.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from model_zoo.norms import EPSILON
from wire_protocol.errors import ConfigError

T = TypeVar("T")
Weights = tuple[NDArray[np.float32], ...]
Value = int | float | str | tuple[Any, ...]
Ending = Literal["linear", "softmax", "log_softmax", "sigmoid"]
"""What follows the last layer in the file; a loss has it in it."""
ENDINGS: Final = frozenset({"softmax", "log_softmax"})
"""Operations that can only end a network."""

MAX_LAYERS: Final = 500
MAX_VALUES: Final = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Operation:
    """One layer to be: its function, arguments and trained weights.

    Attributes:
        kind: Name of the layer's function.
        args: Its arguments, in order.
        options: And by name.
        weights: One for each of the layer's parameters.
        inner: The layers of a ``residual``.
        frozen: Whether it stays as it is.
        source: What the file calls it.
    """

    kind: str
    args: tuple[Value, ...] = ()
    options: Mapping[str, Value] = field(default_factory=dict)
    weights: Weights = ()
    inner: tuple["Operation", ...] = ()
    frozen: bool = False
    source: str = ""

    def all_weights(self) -> Iterator[NDArray[np.float32]]:
        """Yield the weights in the order of the layer's parameters."""
        yield from self.weights
        for operation in self.inner:
            yield from operation.all_weights()


@dataclass(frozen=True, slots=True)
class Network:
    """A network without branches but residual ones.

    ``channels_last`` says, for each axis of the file's input behind the batch, which of
    ours it is: ``(2, 0, 1)`` where the file has channels first.
    """

    input_shape: tuple[int, ...]
    operations: tuple[Operation, ...]
    ending: Ending
    tokens: int = 0
    axes: tuple[int, ...] = ()
    loss: str = ""


@dataclass(frozen=True, slots=True)
class Unsupported:
    """One thing in a file that has no counterpart here."""

    name: str
    kind: str
    why: str


class UnsupportedError(ConfigError):
    """A file has layers that have no counterpart; the message lists all of them."""

    def __init__(self, found: Sequence[Unsupported]) -> None:
        lines = "".join(f"\n  {one.name} ({one.kind}): {one.why}" for one in found)
        super().__init__(
            f"{len(found)} layers cannot be imported:{lines}\n",
            remedy="replace them, or write the model with edgefed zoo new",
        )
        self.found = tuple(found)


class CannotError(Exception):
    """This one layer cannot be imported; the text says why."""


def epsilon_option(epsilon: float) -> dict[str, Value]:
    """Return the option of a norm that ``epsilon`` is; none where it is the usual."""
    if not epsilon > 0:
        raise CannotError(f"epsilon is {epsilon:g}")
    return {} if epsilon == EPSILON else {"epsilon": epsilon}


@dataclass(slots=True)
class Findings:
    """Collects what is unsupported, so that a user sees all of it at once."""

    found: list[Unsupported] = field(default_factory=list)

    def attempt(self, make: Callable[[], T], *, name: str, kind: str) -> T | None:
        """Return what ``make`` does, or None and a note of why not."""
        try:
            return make()
        except CannotError as error:
            self.found.append(Unsupported(f"{name:.80}", f"{kind:.40}", str(error)))
            return None

    def check(self) -> None:
        """Raise ``UnsupportedError`` if anything was found."""
        if self.found:
            raise UnsupportedError(self.found)


def finite(array: NDArray[Any], *, name: str) -> NDArray[np.float32]:
    """Return weights as contiguous float32, or raise where a value is not finite."""
    with np.errstate(over="ignore"):
        values = np.ascontiguousarray(array, np.float32)
    if not np.isfinite(values).all():
        raise ConfigError(
            f"the weights of {name:.80} have a value that is not finite",
            remedy="train the network again",
        )
    return values
