"""The local examples of a round: what they are, how many, and whether they fit.

They never leave the device: only deltas, sums of losses and sums of features do.
"""

import random
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from wire_protocol.errors import ConfigError, TrainingError
from wire_protocol.manifest import Manifest
from wire_protocol.params import Vector
from wire_protocol.selftest import Targets

MAX_EXAMPLES_BYTES: Final = 512 * 1024 * 1024
MAX_LABEL: Final = (1 << 16) - 1
_REMEDY: Final = "write it with numpy.savez(path, x=..., y=...)"
_CHUNK: Final = 1 << 16
_Kind = TypeVar("_Kind", bound=np.generic)


def shuffled(count: int, rng: random.Random) -> NDArray[np.intp]:
    """Return 0 to ``count - 1`` in an order drawn from ``rng``.

    Not numpy's generator: importing it takes 3 MB that an idle agent does not have.
    """
    order = list(range(count))
    rng.shuffle(order)
    return np.array(order, np.intp)


def no_targets(count: int) -> Targets:
    """Return what stands for the targets of ``count`` examples that have none."""
    return np.zeros((count, 0), np.float32)


class MisfitError(ConfigError):
    """The fleet's model does not take this device's examples."""


class TooFewError(TrainingError):
    """There are too few examples for a round, now."""


@dataclass(frozen=True, slots=True)
class Examples:
    """Examples ``x[N, ...]`` float32 with their targets.

    ``y`` is ``[N]`` int32 (classes), ``[N, K]`` float32 (numbers), or ``[N, 0]``
    float32: there are none.
    """

    x: Vector
    y: Targets

    @property
    def count(self) -> int:
        """N."""
        return len(self.x)

    @property
    def kind(self) -> str:
        """What the targets are, for people."""
        if self.y.ndim == 1:
            return "classes"
        return f"{self.y.shape[1]} numbers" if self.y.shape[1] else "no targets"


def stacked(pairs: Sequence[tuple[Vector, Targets]]) -> Examples:
    """Return single examples, at least one, as examples."""
    y = cast("Targets", np.stack([y for _, y in pairs]))
    return Examples(np.stack([x for x, _ in pairs]), y)


def joined(parts: Sequence[Examples]) -> Examples:
    """Return the examples of ``parts``, in order; none of an unknown form if empty."""
    if not parts:
        return Examples(np.zeros((0, 1), np.float32), no_targets(0))
    y = cast("Targets", np.concatenate([part.y for part in parts]))
    return Examples(np.concatenate([part.x for part in parts]), y)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The examples that one round trains on and is judged by.

    Attributes:
        training: To train on.
        holdout: Held out, to judge a model; never trained on.
        source: Where they came from, for people.
        key: Names exactly these examples, in up to 200 characters: with it a store
            finds them again, if they are still there.
    """

    training: Examples
    holdout: Examples
    source: str
    key: str

    def check_fit(self, manifest: Manifest) -> None:
        """Raise unless the model takes these examples.

        Raises:
            MisfitError: It takes others.
            TooFewError: There are none.
        """
        if not self.training.count:
            raise TooFewError(
                f"{self.source} has no examples to train on",
                remedy="wait until there are some: edgefed agent examples",
            )
        problem = self._misfit(manifest)
        if problem:
            raise MisfitError(
                f"wrong model for the data: {manifest.name} {problem}",
                remedy="give this device examples of the fleet's task, "
                "or let it join another fleet",
            )

    def _misfit(self, manifest: Manifest) -> str:
        parts = [part for part in (self.training, self.holdout) if part.count]
        shape, y = self.training.x.shape[1:], self.training.y
        labels = y.ndim == 1
        greatest = max((int(part.y.max()) for part in parts if labels), default=-1)
        takes = f"takes {list(manifest.input_shape)}"
        has = f"but {self.source} has {list(shape)}"
        match manifest.task:
            case "classification":
                takes += f" in {manifest.outputs} classes"
                has += f" with labels up to {greatest}" if labels else " without labels"
                fits = labels and greatest < manifest.outputs
            case "reconstruction":
                takes += " without labels, all of it normal"
                has += f" with labels up to {greatest}" if labels else ""
                fits = y.shape[1:] == (0,) or (labels and greatest <= 0)
            case _:
                takes += f" with {manifest.outputs} numbers as targets"
                has += f" with {self.training.kind}"
                fits = y.shape[1:] == (manifest.outputs,)
        if shape != manifest.input_shape or not fits:
            return f"{takes}, {has}"
        if manifest.task == "binary" and not all(
            part.y.min() >= 0 and part.y.max() <= 1 for part in parts
        ):
            return f"takes targets from 0 to 1, but {self.source} has others"
        if manifest.tokens and not all(
            _are_tokens(part.x, below=manifest.tokens) for part in parts
        ):
            return (
                f"takes whole numbers from 0 to {manifest.tokens - 1}, "
                f"but {self.source} has others"
            )
        return ""


@dataclass(frozen=True, slots=True)
class ExampleStore:
    """Where a device's examples are: a file, a folder, or a log that sensors fill.

    Attributes:
        source: For people.
        count: Returns how many there are to train on, now.
        snapshot: Takes the key of an earlier snapshot, or nothing. Returns the same
            examples if they are still there, else those that are there now.
        min_examples: With fewer, the device does not take part.
    """

    source: str
    count: Callable[[], int]
    snapshot: Callable[[str], Snapshot]
    min_examples: int = 1

    @classmethod
    def load(cls, path: Path, *, holdout: float, seed: int) -> Self:
        """Read the examples of an ``.npz`` file once; hold a part out.

        Raises:
            ConfigError: The file is missing, damaged, too large, or holds other arrays
                than examples or too few.
        """
        examples = read_npz(path)
        count = examples.count
        held = round(count * holdout)
        if count - held < 1:
            raise ConfigError(
                f"{path} has {count} examples, of which {held} are held out",
                remedy="add examples, or lower [data] holdout",
            )
        order = shuffled(count, random.Random(seed))  # noqa: S311 - a split, no secret
        training, judging = (
            Examples(examples.x[part], examples.y[part])
            for part in (order[held:], order[:held])
        )
        key = f"{count}-{checksum(examples):08x}-{held}-{seed}"
        snapshot = Snapshot(training, judging, source=str(path), key=key)
        return cls(str(path), lambda: training.count, lambda _: snapshot)

    @property
    def training(self) -> Examples:
        """The examples to train on, now."""
        return self.snapshot("").training

    @property
    def holdout(self) -> Examples:
        """The examples held out, now."""
        return self.snapshot("").holdout

    def check_fit(self, manifest: Manifest) -> None:
        """Raise ``MisfitError`` unless the model takes the examples there are now."""
        self.snapshot("").check_fit(manifest)


def checksum(examples: Examples) -> int:
    """Return a CRC-32 of every bit of ``examples``."""
    crc = 0
    for array in (examples.x, examples.y):
        for chunk in _chunks(array):
            crc = zlib.crc32(chunk.tobytes(), crc)
    return crc


def read_npz(path: Path) -> Examples:
    """Read ``x`` float32 ``[N, ...]`` and ``y``, if there is one.

    Raises:
        ConfigError: The file is missing, damaged, too large, or holds other arrays.
    """
    # it brings zipfile along, which who has sensors can do without
    from wire_protocol.npz import load_arrays  # noqa: PLC0415

    try:
        arrays = load_arrays(
            path, ("x",), optional=("y",), max_bytes=MAX_EXAMPLES_BYTES
        )
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read: {error.strerror or error}",
            remedy="correct [data] examples",
        ) from error
    except ConfigError as error:
        raise ConfigError(error.problem, remedy=error.remedy or _REMEDY) from error
    x = arrays["x"]
    y = arrays.get("y", no_targets(len(x) if x.ndim else 0))
    classes = y.dtype.kind in "iu" and y.ndim == 1
    if x.dtype != np.float32 or x.ndim < 2 or not (classes or _are_numbers(y)):
        raise ConfigError(
            f"{path} has x {x.dtype} {list(x.shape)} and y {y.dtype} {list(y.shape)}, "
            "expected x float32 [N, ...] and y integer [N], float32 [N, K] or none",
            remedy=_REMEDY,
        )
    if not 0 < len(x) == len(y):
        raise ConfigError(
            f"{path} has {len(x)} examples and {len(y)} labels", remedy=_REMEDY
        )
    wrong = y.min() < 0 or y.max() > MAX_LABEL if classes else not _finite(y)
    if wrong or not _finite(x):
        raise ConfigError(
            f"{path} has a value that is not finite, or a label outside 0 to "
            f"{MAX_LABEL}",
            remedy="clean the examples",
        )
    targets = y.astype(np.int32) if classes else y.astype(np.float32, copy=False)
    return Examples(x.astype(np.float32, copy=False), targets)


def _are_numbers(y: NDArray[np.generic]) -> bool:
    return y.dtype == np.float32 and y.ndim == 2


def _finite(array: NDArray[np.generic]) -> bool:
    return all(bool(np.isfinite(chunk).all()) for chunk in _chunks(array))


def _are_tokens(x: Vector, *, below: int) -> bool:
    return all(
        bool(((chunk >= 0) & (chunk < below) & (chunk == np.floor(chunk))).all())
        for chunk in _chunks(x)
    )


def _chunks(array: NDArray[_Kind]) -> Iterator[NDArray[_Kind]]:
    """Yield ``array`` in parts of bounded size."""
    step = max(1, _CHUNK // max(1, array[:1].size))
    for start in range(0, len(array), step):
        yield array[start : start + step]
