"""A network as two files, ``network.json`` and ``weights.npz``: between processes.

The reader of foreign files is a process that may have been led astray, so what it
writes is checked like anything foreign.
"""

import json
import math
from pathlib import Path
from typing import Any, Final

import numpy as np

from model_zoo.importing.constructors import MODULES
from model_zoo.importing.network import MAX_VALUES, Ending, Network, Operation, Value
from wire_protocol.errors import ConfigError
from wire_protocol.npz import Array, load_arrays

MAX_TEXT_BYTES: Final = 4 * 1024 * 1024
_ENDINGS: Final[dict[str, Ending]] = {
    "linear": "linear",
    "softmax": "softmax",
    "log_softmax": "log_softmax",
    "sigmoid": "sigmoid",
}


def write_network(network: Network, folder: Path) -> None:
    """Write both files into ``folder``."""
    arrays: list[Array] = []
    plain = {
        "input_shape": network.input_shape,
        "operations": [_plain(one, arrays) for one in network.operations],
        "ending": network.ending,
        "tokens": network.tokens,
        "axes": network.axes,
        "loss": network.loss,
    }
    named: dict[str, Any] = {f"w{number}": array for number, array in enumerate(arrays)}
    np.savez(folder / "weights.npz", **named)
    text = json.dumps(plain)
    (folder / "network.json").write_text(text, encoding="utf-8")


def read_network(folder: Path) -> Network:
    """Read both files, or raise ``ConfigError``."""
    path = folder / "network.json"
    try:
        if path.stat().st_size > MAX_TEXT_BYTES:
            raise ConfigError("the network's description is too long")
        plain = json.loads(path.read_bytes())
        count = sum(_count(one) for one in plain["operations"])
        names = [f"w{number}" for number in range(min(count, 2000))]
        arrays = load_arrays(
            folder / "weights.npz", names, max_bytes=4 * MAX_VALUES + 4096
        )
        left = iter(arrays.values())
        return Network(
            input_shape=tuple(int(side) for side in plain["input_shape"]),
            operations=tuple(_operation(one, left) for one in plain["operations"]),
            ending=_ENDINGS[plain["ending"]],
            tokens=int(plain["tokens"]),
            axes=tuple(int(axis) for axis in plain["axes"]),
            loss=str(plain["loss"]),
        )
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        RecursionError,
        StopIteration,
    ) as error:
        raise ConfigError(f"the file was not read as a network: {error!r:.100}") from (
            error
        )


def _plain(operation: Operation, arrays: list[Array]) -> dict[str, Any]:
    arrays += operation.weights
    return {
        "kind": operation.kind,
        "args": operation.args,
        "options": dict(operation.options),
        "weights": len(operation.weights),
        "frozen": operation.frozen,
        "source": operation.source,
        "inner": [_plain(one, arrays) for one in operation.inner],
    }


def _count(plain: Any) -> int:  # noqa: ANN401 - JSON
    return int(plain["weights"]) + sum(_count(one) for one in plain["inner"])


def _operation(plain: Any, arrays: Any) -> Operation:  # noqa: ANN401 - JSON
    kind = plain["kind"]
    if kind not in MODULES:
        raise ConfigError(f"there is no layer {kind!r:.40}")
    options = {str(key): _value(value) for key, value in plain["options"].items()}
    if any(not key.isidentifier() for key in options):
        raise ConfigError(f"options {list(options)!r:.80} are none")
    weights = tuple(
        np.asarray(next(arrays), np.float32) for _ in range(int(plain["weights"]))
    )
    return Operation(
        kind,
        args=tuple(_value(value) for value in plain["args"]),
        options=options,
        weights=weights,
        frozen=plain["frozen"] is True,
        source=str(plain["source"]),
        inner=tuple(_operation(one, arrays) for one in plain["inner"]),
    )


def _value(plain: Any) -> Value:  # noqa: ANN401 - JSON
    """Return an argument: a number, one of two words, or a tuple of whole numbers."""
    if isinstance(plain, list):
        if all(type(one) is int for one in plain):
            return tuple(plain)
        raise ConfigError(f"{plain!r:.60} is no argument of a layer")
    if plain in ("same", "valid") or type(plain) in (int, bool):
        return plain  # type: ignore[no-any-return] # checked here
    if type(plain) is float and math.isfinite(plain):
        return plain
    raise ConfigError(f"{plain!r:.60} is no argument of a layer")
