"""Examples to calibrate with and to judge with: never the same ones.

Calibration sees what devices train on, drawn over all of them; a data set's judging
examples are those no device holds. From a file come only examples of the user's.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from model_zoo.data.catalog import load
from model_zoo.data.dataset import Dataset, Examples, Targets
from model_zoo.data.federation import federate
from model_zoo.data.partition import seeded
from model_zoo.model import Model
from wire_protocol.errors import ConfigError
from wire_protocol.npz import load_arrays

MAX_FILE_BYTES: Final = 1 << 30
_STREAM: Final = 7


@dataclass(frozen=True, slots=True, eq=False)
class Judging:
    """Examples with targets that no device trained on."""

    x: Examples
    y: Targets


def calibration(
    model: Model, source: str, *, count: int, seed: int, environ: Mapping[str, str]
) -> Examples:
    """Return ``count`` examples (or all, if fewer) of a data set or ``.npz`` file.

    Raises:
        ConfigError: There is no such data set or file, or it is not for this model.
    """
    if count < 1:
        raise ConfigError(f"calibration takes 1 example or more, not {count}")
    if _is_file(source):
        x = _arrays(Path(source), ("x",))["x"]
    else:
        dataset = _dataset(model, source, seed=seed, environ=environ)
        shards = federate(dataset, seed=seed, unseen=bool(dataset.unseen.any())).shards
        x = np.concatenate([shard.x for shard in shards])
    x = _checked(x, model, source=source)
    chosen = seeded(seed, _STREAM).permutation(len(x))[:count]
    return x[np.sort(chosen)]


def judging(
    model: Model, source: str, *, seed: int, environ: Mapping[str, str]
) -> Judging:
    """Return the judging examples of a data set, or all of a ``.npz`` file.

    Unseen people judge where there are some, the hold-out elsewhere.

    Raises:
        ConfigError: As ``calibration``; or targets are missing or of another task.
    """
    if _is_file(source):
        arrays = _arrays(Path(source), ("x", "y"))
        x, y = arrays["x"], cast("Targets", arrays["y"])
    else:
        dataset = _dataset(model, source, seed=seed, environ=environ)
        federation = federate(dataset, seed=seed, unseen=bool(dataset.unseen.any()))
        x, y = federation.test_x, federation.test_y
    x = _checked(x, model, source=source)
    _check_targets(y, len(x), model=model, source=source)
    return Judging(x, y)


def _is_file(source: str) -> bool:
    return source.endswith(".npz")


def _arrays(path: Path, names: tuple[str, ...]) -> dict[str, NDArray[np.generic]]:
    try:
        return load_arrays(path, names, max_bytes=MAX_FILE_BYTES)
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read: {error.strerror}",
            remedy="name a data set, or an .npz file with x (and y to judge)",
        ) from error


def _dataset(
    model: Model, name: str, *, seed: int, environ: Mapping[str, str]
) -> Dataset:
    dataset = load(name, seed=seed, environ=environ)
    if dataset.task != model.task:
        raise ConfigError(
            f"{name} is for {dataset.task}, {model.name} does {model.task}",
            remedy=f"{model.name} was made for {model.data}",
        )
    return dataset


def _checked(x: NDArray[Any], model: Model, *, source: str) -> Examples:
    if x.dtype != np.float32 or x.shape[1:] != model.input_shape or not len(x):
        raise ConfigError(
            f"{source}: x is {x.dtype} {list(x.shape)}, {model.name} takes float32 "
            f"{['N', *model.input_shape]}",
            remedy="give examples as the sensor does, one row each",
        )
    if not np.isfinite(x).all():
        raise ConfigError(f"{source}: x has a value that is not finite")
    if model.tokens and not np.isin(x, np.arange(model.tokens)).all():
        raise ConfigError(
            f"{source}: {model.name} takes whole numbers below {model.tokens}"
        )
    return x


def _check_targets(y: NDArray[Any], count: int, *, model: Model, source: str) -> None:
    if model.task in ("classification", "reconstruction"):
        most = model.outputs if model.task == "classification" else 2
        fits = y.dtype == np.int32 and y.shape == (count,)
        fits = fits and bool(((y >= 0) & (y < most)).all())
        wanted = f"int32 {[count]} below {most}"
    else:
        fits = y.dtype == np.float32 and y.shape == (count, model.outputs)
        fits = fits and bool(np.isfinite(y).all())
        wanted = f"float32 {[count, model.outputs]}"
    if not fits:
        raise ConfigError(
            f"{source}: y is {y.dtype} {list(y.shape)}, {model.name} is judged by "
            f"{wanted}"
        )
