"""The local examples: read from an NPZ file, checked, and split once by a seed.

They never leave this module's arrays: only deltas and sums of losses do.
"""

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from wire_protocol.errors import ConfigError
from wire_protocol.manifest import Manifest
from wire_protocol.npz import load_arrays
from wire_protocol.params import Vector

MAX_EXAMPLES_BYTES: Final = 512 * 1024 * 1024
_REMEDY: Final = "write it with numpy.savez(path, x=..., y=...)"


def shuffled(count: int, rng: random.Random) -> NDArray[np.intp]:
    """Return 0 to ``count - 1`` in an order drawn from ``rng``.

    Not numpy's generator: importing it takes 3 MB that an idle agent does not have.
    """
    order = list(range(count))
    rng.shuffle(order)
    return np.array(order, np.intp)


class MisfitError(ConfigError):
    """The fleet's model does not take this device's examples."""


@dataclass(frozen=True, slots=True)
class Examples:
    """Labelled examples: ``x[N, ...]`` float32 and ``y[N]`` int32."""

    x: Vector
    y: NDArray[np.int32]

    @property
    def count(self) -> int:
        """N."""
        return len(self.y)


@dataclass(frozen=True, slots=True)
class ExampleStore:
    """The examples to train on, and those held out to judge a model."""

    training: Examples
    holdout: Examples
    source: str

    @classmethod
    def load(cls, path: Path, *, holdout: float, seed: int) -> Self:
        """Read ``x`` float32 ``[N, ...]`` and integers ``y[N]``; hold a part out.

        Raises:
            ConfigError: The file is missing, damaged, too large, or holds other arrays
                than these or too few examples.
        """
        x, y = _read(path)
        held = round(len(y) * holdout)
        if len(y) - held < 1:
            raise ConfigError(
                f"{path} has {len(y)} examples, of which {held} are held out",
                remedy="add examples, or lower [data] holdout",
            )
        order = shuffled(len(y), random.Random(seed))  # noqa: S311 - a split, no secret
        parts = order[held:], order[:held]
        training, judging = (Examples(x[part], y[part]) for part in parts)
        return cls(training, judging, source=str(path))

    def check_fit(self, manifest: Manifest) -> None:
        """Raise ``MisfitError`` unless the model takes these examples."""
        shape = self.training.x.shape[1:]
        labels = [part.y for part in (self.training, self.holdout) if part.count]
        greatest = max(int(y.max()) for y in labels)
        if shape != manifest.input_shape or greatest >= manifest.outputs:
            raise MisfitError(
                f"wrong model for the data: {manifest.name} takes "
                f"{list(manifest.input_shape)} in {manifest.outputs} classes, but "
                f"{self.source} has {list(shape)} with labels up to {greatest}",
                remedy="give this device examples of the fleet's task, "
                "or let it join another fleet",
            )


def _read(path: Path) -> tuple[Vector, NDArray[np.int32]]:
    try:
        arrays = load_arrays(path, ("x", "y"), max_bytes=MAX_EXAMPLES_BYTES)
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read: {error.strerror or error}",
            remedy="correct [data] examples",
        ) from error
    except ConfigError as error:
        raise ConfigError(error.problem, remedy=error.remedy or _REMEDY) from error
    x, y = arrays["x"], arrays["y"]
    if x.dtype != np.float32 or x.ndim < 2 or y.dtype.kind not in "iu" or y.ndim != 1:
        raise ConfigError(
            f"{path} has x {x.dtype} {list(x.shape)} and y {y.dtype} {list(y.shape)}, "
            "expected x float32 [N, ...] and y integer [N]",
            remedy=_REMEDY,
        )
    if not 0 < len(x) == len(y):
        raise ConfigError(
            f"{path} has {len(x)} examples and {len(y)} labels", remedy=_REMEDY
        )
    if y.min() < 0 or y.max() >= 1 << 16 or not np.isfinite(x).all():
        raise ConfigError(
            f"{path} has a value that is not finite, or a label outside 0 to 65535",
            remedy="clean the examples",
        )
    return x.astype(np.float32, copy=False), y.astype(np.int32)
