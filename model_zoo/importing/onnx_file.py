"""An ``.onnx`` file parsed into nodes and constants; nothing outside of it is read.

ONNX can name other files for its tensors (``external_data``), hold whole graphs in
attributes and functions in domains of its own. None of these is taken.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from model_zoo.importing.network import MAX_LAYERS, MAX_VALUES
from wire_protocol.errors import ConfigError

MAX_FILE_BYTES: Final = 300 * 1024 * 1024
MAX_SIDE: Final = 1 << 20
_MOST_WHOLES: Final = 16
_FLOAT: Final = 1
_WHOLE: Final = (6, 7)
_DTYPES: Final[Mapping[int, tuple[str, str]]] = {
    _FLOAT: ("<f4", "float_data"),
    7: ("<i8", "int64_data"),
    11: ("<f8", "double_data"),
}
"""By the number of ONNX's element type: numpy's, and the field that may hold values."""

Attribute = int | float | str | tuple[int, ...] | tuple[float, ...] | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OnnxNode:
    """One node: operator, tensors in (none is "") and out, and plain attributes."""

    name: str
    kind: str
    takes: tuple[str, ...]
    gives: tuple[str, ...]
    attributes: Mapping[str, Attribute]


@dataclass(frozen=True, slots=True)
class OnnxGraph:
    """A graph of one input ``[N, *input_shape]`` and one output.

    With ``tokens`` the input is whole numbers.
    """

    nodes: tuple[OnnxNode, ...]
    constants: Mapping[str, NDArray[Any]]
    start: str
    end: str
    input_shape: tuple[int, ...]
    tokens: bool = False


def few_wholes(constant: NDArray[Any]) -> tuple[int, ...] | None:
    """Return the values of axes, sides or places; None where it cannot be such."""
    if constant.dtype.kind != "i" or constant.size > _MOST_WHOLES:
        return None
    return tuple(int(one) for one in constant.reshape(-1))


def parse_onnx(path: Path) -> OnnxGraph:
    """Parse an ``.onnx`` file.

    Raises:
        ConfigError: It is none, or is more than one graph with all of its tensors.
    """
    if path.stat().st_size > MAX_FILE_BYTES:
        raise ConfigError(f"{path.name} is larger than {MAX_FILE_BYTES >> 20} MiB")
    return graph_of(path.read_bytes(), name=path.name)


def graph_of(content: bytes, *, name: str) -> OnnxGraph:
    """Parse the bytes of an ``.onnx`` file, see ``parse_onnx``."""
    try:
        import onnx  # noqa: PLC0415 - an extra
        from google.protobuf.message import DecodeError  # noqa: PLC0415
    except ImportError as error:
        raise ConfigError(
            "onnx is not installed; reading an .onnx file needs it",
            remedy="pip install onnx",
        ) from error
    try:
        model = onnx.ModelProto.FromString(content)
    except (DecodeError, ValueError) as error:
        raise ConfigError(f"{name} is no ONNX file: {error}") from error
    graph = model.graph
    if len(model.functions) or len(graph.sparse_initializer):
        raise ConfigError(f"{name} has functions or sparse tensors, which are not read")
    if not 0 < len(graph.node) <= 4 * MAX_LAYERS:
        raise ConfigError(f"{name} has {len(graph.node)} nodes, expected 1 to 2000")
    constants = _constants(graph)
    nodes = tuple(
        _node(node, number)
        for number, node in enumerate(graph.node)
        if node.op_type != "Constant"
    )
    inputs = [value for value in graph.input if value.name not in constants]
    if len(inputs) != 1 or len(graph.output) != 1:
        raise ConfigError(
            f"{name} has {len(inputs)} inputs and {len(graph.output)} outputs, "
            "expected one and one"
        )
    return OnnxGraph(
        nodes=nodes,
        constants=constants,
        start=inputs[0].name,
        end=graph.output[0].name,
        input_shape=_input_shape(inputs[0], name),
        tokens=inputs[0].type.tensor_type.elem_type in _WHOLE,
    )


def _constants(graph: Any) -> dict[str, NDArray[Any]]:  # noqa: ANN401 - protobuf
    tensors = [(tensor.name, tensor) for tensor in graph.initializer]
    for node in graph.node:
        if node.op_type == "Constant" and len(node.output) == 1:
            found = [a.t for a in node.attribute if a.name == "value" and a.type == 4]
            if len(found) != 1:
                raise ConfigError(f"constant {node.output[0]!r:.80} is no tensor")
            tensors.append((node.output[0], found[0]))
    constants: dict[str, NDArray[Any]] = {}
    left = MAX_VALUES
    for name, tensor in tensors:
        if name in constants:
            raise ConfigError(f"two tensors are called {name!r:.80}")
        constants[name] = _array(tensor, name, most=left)
        left -= constants[name].size
    return constants


def _array(tensor: Any, name: str, *, most: int) -> NDArray[Any]:  # noqa: ANN401 - protobuf
    if tensor.data_location or len(tensor.external_data):
        raise ConfigError(
            f"tensor {name!r:.80} lies in another file, which is not read",
            remedy="save the model in one file (onnx.save without external data)",
        )
    shape = tuple(tensor.dims)
    size = math.prod(shape)
    if len(shape) > 8 or any(side < 0 for side in shape) or size > most:
        raise ConfigError(
            f"tensor {name!r:.80} claims {list(shape[:8])} values, more than are read"
        )
    if tensor.data_type not in _DTYPES:
        raise ConfigError(
            f"tensor {name!r:.80} has element type {tensor.data_type}, expected "
            "float32, float64 or int64"
        )
    dtype, field = _DTYPES[tensor.data_type]
    raw = tensor.raw_data
    if raw:
        held = len(raw) / np.dtype(dtype).itemsize
        values = np.frombuffer(raw, dtype) if held == size else None
    else:
        held = len(getattr(tensor, field))
        values = np.array(getattr(tensor, field), dtype) if held == size else None
    if values is None:
        raise ConfigError(
            f"tensor {name!r:.80} claims {size} values and holds {held:g}"
        )
    return values.reshape(shape)


def _node(node: Any, number: int) -> OnnxNode:  # noqa: ANN401 - protobuf
    domain = "" if node.domain in ("", "ai.onnx") else f"{node.domain:.40}."
    attributes: dict[str, Attribute] = {}
    for attribute in node.attribute:
        match attribute.type:
            case 1:
                attributes[attribute.name] = float(attribute.f)
            case 2:
                attributes[attribute.name] = int(attribute.i)
            case 3:
                attributes[attribute.name] = attribute.s.decode(errors="replace")
            case 6:
                attributes[attribute.name] = tuple(attribute.floats)
            case 7:
                attributes[attribute.name] = tuple(attribute.ints)
            case 8:
                texts = (one.decode(errors="replace") for one in attribute.strings)
                attributes[attribute.name] = tuple(texts)
            case 4 if node.op_type == "ConstantOfShape":
                filled = _array(attribute.t, node.name, most=1).reshape(-1)
                attributes[attribute.name] = float(filled[0]) if filled.size else 0.0
            case kind:
                # a graph or a list of them: no operator that is supported has one
                attributes[attribute.name] = f"attribute of type {kind}"
    return OnnxNode(
        name=node.name or f"node {number}",
        kind=f"{domain}{node.op_type}",
        takes=tuple(node.input),
        gives=tuple(node.output),
        attributes=attributes,
    )


def _input_shape(value: Any, name: str) -> tuple[int, ...]:  # noqa: ANN401 - protobuf
    tensor = value.type.tensor_type
    if tensor.elem_type not in (_FLOAT, *_WHOLE):
        raise ConfigError(
            f"{name} takes element type {tensor.elem_type}, expected float32, or "
            "int32 or int64 for tokens"
        )
    sides = [dim.dim_value for dim in tensor.shape.dim]
    if not 2 <= len(sides) <= 4 or any(not 0 < s <= MAX_SIDE for s in sides[1:]):
        raise ConfigError(
            f"{name} takes {sides}; a batch and 1 to 3 fixed sides are needed",
            remedy="export it with a fixed shape of one example",
        )
    return tuple(sides[1:])
