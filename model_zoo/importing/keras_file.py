"""A ``.keras`` file read into a network, by its configuration alone.

Keras itself is not asked: loading a model can run what the file says (docs/adr/0016).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from model_zoo.importing.chain import Node, Row, Shortcut, row_of
from model_zoo.importing.constructors import shape_after
from model_zoo.importing.ending import ended
from model_zoo.importing.folding import folded
from model_zoo.importing.keras_archive import open_archive
from model_zoo.importing.keras_given import Given
from model_zoo.importing.keras_layers import MAKERS
from model_zoo.importing.network import (
    MAX_LAYERS,
    CannotError,
    Findings,
    Network,
    Operation,
)
from model_zoo.importing.weights import WeightsFile
from wire_protocol.errors import ConfigError

MAX_SIDE: Final = 1 << 20
_LOSSES: Final = {
    "sparse_categorical_crossentropy": "classification",
    "SparseCategoricalCrossentropy": "classification",
    "categorical_crossentropy": "classification",
    "CategoricalCrossentropy": "classification",
    "mse": "regression",
    "mean_squared_error": "regression",
    "MeanSquaredError": "regression",
    "mae": "regression",
    "mean_absolute_error": "regression",
    "MeanAbsoluteError": "regression",
    "binary_crossentropy": "binary",
    "BinaryCrossentropy": "binary",
}
Layer = Mapping[str, Any]
Shape = tuple[int, ...]
Made = tuple[list[Operation], Shape | None]


def read_keras(path: Path) -> Network:
    """Return the network in a ``.keras`` file.

    Raises:
        ConfigError: The file is broken, or not what Keras 3 writes.
        UnsupportedError: Layers in it have no counterpart here.
    """
    archive = open_archive(path)
    weights = WeightsFile(archive.weights)
    try:
        return _network(archive.config, weights)
    except CannotError as error:
        raise ConfigError(
            f"{path.name} cannot be imported: {error}",
            remedy="see docs/extend.md, which networks can",
        ) from error
    except (KeyError, TypeError, IndexError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"{path.name} has a configuration that Keras 3 does not write: "
            f"{error!r:.100}",
            remedy="save it with model.save('model.keras') of Keras 3",
        ) from error


def layers_of(config: Mapping[str, Any]) -> tuple[list[Layer], Row, Layer]:
    """Return all layers, the row of names that is the network, and its input layer.

    Raises:
        CannotError: It is no row of layers.
    """
    kind = config["class_name"]
    layers: list[Layer] = config["config"]["layers"]
    if len(layers) > MAX_LAYERS:
        raise CannotError(f"{len(layers)} layers are more than {MAX_LAYERS}")
    names = [str(layer["config"]["name"]) for layer in layers]
    if len(set(names)) != len(names):
        raise CannotError("two layers have one name")
    inputs = [layer for layer in layers if layer["class_name"] == "InputLayer"]
    if len(inputs) != 1:
        raise CannotError(f"it has {len(inputs)} inputs, expected one InputLayer")
    if kind == "Sequential":
        rest = [name for name in names if name != inputs[0]["config"]["name"]]
        return layers, tuple(rest), inputs[0]
    if kind not in ("Functional", "Model"):
        raise CannotError(f"it is a {kind!r:.40}, neither Sequential nor Functional")
    nodes = {
        name: Node(name, _taken(layer), is_sum=layer["class_name"] == "Add")
        for name, layer in zip(names, layers, strict=True)
        if layer is not inputs[0]
    }
    end = _only_tensor(config["config"]["output_layers"])
    start = str(inputs[0]["config"]["name"])
    return layers, row_of(nodes, start=start, end=end), inputs[0]


def folders_of(layers: list[Layer]) -> dict[str, str]:
    """Return the folder in the weights file for the name of each layer.

    Keras names folders after classes, numbered in the order of the configuration.
    """
    counts: dict[str, int] = {}
    folders = {}
    for layer in layers:
        stem = _snake_case(str(layer["class_name"]))
        number = counts.get(stem, 0)
        counts[stem] = number + 1
        folders[str(layer["config"]["name"])] = f"{stem}_{number}" if number else stem
    return folders


def input_of(layer: Layer) -> tuple[int, ...]:
    """Return the shape of one example."""
    batch, *shape = layer["config"].get("batch_shape") or [None]
    if (
        not 0 < len(shape) <= 3
        or (batch is not None and type(batch) is not int)
        or any(type(side) is not int or not 0 < side <= MAX_SIDE for side in shape)
    ):
        raise CannotError(f"its input has shape {shape}; 1 to 3 fixed sides are needed")
    return tuple(shape)


def _network(config: Mapping[str, Any], weights: WeightsFile) -> Network:
    layers, row, first = layers_of(config)
    findings = Findings()
    reader = _Reader(
        by_name={str(layer["config"]["name"]): layer for layer in layers},
        folders=folders_of(layers),
        weights=weights,
        findings=findings,
    )
    shape = input_of(first)
    operations, _ = reader.walk(row, shape)
    findings.check()
    operations, ending = ended(operations)
    embedded = operations and operations[0].kind == "embedding"
    return Network(
        input_shape=shape,
        operations=folded(operations),
        ending=ending,
        tokens=int(operations[0].weights[0].shape[0]) if embedded else 0,
        axes=tuple(range(len(shape))),
        loss=_loss(config),
    )


@dataclass(frozen=True, slots=True)
class _Reader:
    """Makes operations of the row's layers, and notes those it cannot."""

    by_name: Mapping[str, Layer]
    folders: Mapping[str, str]
    weights: WeightsFile
    findings: Findings

    def walk(self, row: Row, shape: Shape | None) -> tuple[list[Operation], Shape]:
        """Return the operations, and the shape they lead to (() when unknown)."""
        operations: list[Operation] = []
        for step in row:
            if isinstance(step, Shortcut):
                inner, _ = self.walk(step.inner, shape)
                made = [Operation("residual", inner=tuple(inner), source=step.name)]
                name, kind = step.name, "Add"
                make = partial(_led, made, shape)
            else:
                name, kind = step, str(self.by_name[step]["class_name"])
                # Behind a layer that cannot be imported, the file's word is taken.
                make = partial(self._made, name, shape or self._said(name))
            found = self.findings.attempt(make, name=name, kind=kind)
            shape = None
            if found is not None:
                operations += found[0]
                shape = found[1]
        return operations, shape or ()

    def _made(self, name: str, shape: Shape | None) -> Made:
        layer = self.by_name[name]
        maker = MAKERS.get(str(layer["class_name"]))
        if maker is None:
            raise CannotError("has no counterpart here")
        if shape is None:
            return [], None

        def read(path: str, wanted: Shape) -> NDArray[np.float32]:
            place = f"layers/{self.folders[name]}/{path}"
            return self.weights.read(place, shape=wanted, name=name)

        return _led(maker(Given(name, layer["config"], shape, read)), shape)

    def _said(self, name: str) -> Shape | None:
        built = self.by_name[name].get("build_config")
        shape = built.get("input_shape") if isinstance(built, dict) else None
        if not isinstance(shape, list) or any(
            type(side) is not int or not 0 < side <= MAX_SIDE for side in shape[1:]
        ):
            return None
        return tuple(shape[1:]) or None


def _led(operations: list[Operation], shape: Shape | None) -> Made:
    """Return the operations with the shape that they lead to."""
    if shape is None:
        return operations, None
    return operations, shape_after(operations, shape)


def _taken(layer: Layer) -> tuple[str, ...]:
    inbound = layer["inbound_nodes"]
    if len(inbound) != 1:
        raise CannotError(
            f"{layer['config']['name']!r:.60} is used {len(inbound)} times"
        )
    tensors: list[str] = []

    def collect(value: Any, depth: int = 0) -> None:  # noqa: ANN401 - JSON
        if depth > 3:
            raise CannotError("its inputs are nested too deeply")
        if isinstance(value, dict) and value.get("class_name") == "__keras_tensor__":
            tensors.append(_tensor(value["config"]["keras_history"]))
        elif isinstance(value, list):
            for one in value:
                collect(one, depth + 1)

    collect(inbound[0]["args"])
    for value in inbound[0].get("kwargs", {}).values():
        collect(value)
    return tuple(tensors)


def _only_tensor(plain: Any) -> str:  # noqa: ANN401 - JSON
    """Return the one output: ``["dense", 0, 0]``, or a list of one of those."""
    if isinstance(plain, list) and len(plain) == 1 and isinstance(plain[0], list):
        plain = plain[0]
    return _tensor(plain)


def _tensor(history: Any) -> str:  # noqa: ANN401 - JSON
    match history:
        case [str(name), 0, 0]:
            return name
    raise CannotError(
        f"it has several outputs, or a layer is used twice: {history!r:.80}"
    )


def _loss(config: Mapping[str, Any]) -> str:
    compiled = config.get("compile_config")
    loss = compiled.get("loss") if isinstance(compiled, dict) else None
    if isinstance(loss, dict):
        loss = loss.get("class_name")
    return _LOSSES.get(loss, "") if isinstance(loss, str) else ""


def _snake_case(name: str) -> str:
    """Name a class's folder as Keras does."""
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()
