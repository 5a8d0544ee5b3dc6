"""The ONNX backend: emits each graph as a model of standard operators, opset 18.

The only importer of onnx, which is needed to build artifacts and for nothing else.
Nodes are named in order and nothing reads a clock: equal graphs give equal bytes.
"""
# ruff: noqa: D102 - ``Backend`` documents the methods, once.

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from model_zoo.backend import Pair, Shape
from model_zoo.graphs import Graph

OPSET: Final = 18
IR_VERSION: Final = 8
"""The oldest that holds the opset: what the most runtimes read."""

Option = int | Sequence[int]

_ELEMENTS: Final = {"float32": TensorProto.FLOAT, "int32": TensorProto.INT32}


@dataclass(frozen=True, slots=True)
class Value:
    """A tensor of the graph being emitted."""

    name: str
    shape: Shape


class OnnxBackend:
    """Implements ``Backend`` by appending nodes to a graph."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: dict[tuple[str, Shape, bytes], Any] = {}
        self.arrays: dict[str, NDArray[Any]] = {}
        """Embedded constants, by name."""

    def constant(self, value: float | NDArray[np.floating[Any]]) -> Value:
        return self._embed(np.asarray(value, np.float32))

    def shape(self, a: Value) -> Shape:
        return a.shape

    def reshape(self, a: Value, shape: Shape) -> Value:
        if a.shape == shape:
            return a
        if a.name in self.arrays:
            return self._embed(self.arrays[a.name].reshape(shape))
        return self._node("Reshape", a, self._ints(shape), shape=shape)

    def transpose(self, a: Value, order: Shape) -> Value:
        if a.name in self.arrays:
            return self._embed(self.arrays[a.name].transpose(order))
        shape = tuple(a.shape[axis] for axis in order)
        return self._node("Transpose", a, shape=shape, perm=order)

    def pad(self, a: Value, widths: tuple[Pair, ...]) -> Value:
        before, after = zip(*widths, strict=True)
        sides = zip(a.shape, before, after, strict=True)
        shape = tuple(sum(side) for side in sides)
        return self._node("Pad", a, self._ints((*before, *after)), shape=shape)

    def crop(self, a: Value, begin: Shape, *, size: Shape) -> Value:
        ends = tuple(first + count for first, count in zip(begin, size, strict=True))
        return self._node("Slice", a, self._ints(begin), self._ints(ends), shape=size)

    def tile(self, a: Value, times: Shape) -> Value:
        shape = tuple(s * t for s, t in zip(a.shape, times, strict=True))
        return self._node("Tile", a, self._ints(times), shape=shape)

    def concat(self, parts: Sequence[Value], axis: int) -> Value:
        shape = list(parts[0].shape)
        shape[axis] = sum(part.shape[axis] for part in parts)
        return self._node("Concat", *parts, shape=tuple(shape), axis=axis)

    def add(self, a: Value, b: Value) -> Value:
        return self._broadcast("Add", a, b)

    def sub(self, a: Value, b: Value) -> Value:
        return self._broadcast("Sub", a, b)

    def mul(self, a: Value, b: Value) -> Value:
        return self._broadcast("Mul", a, b)

    def div(self, a: Value, b: Value) -> Value:
        return self._broadcast("Div", a, b)

    def maximum(self, a: Value, b: Value) -> Value:
        return self._broadcast("Max", a, b)

    def minimum(self, a: Value, b: Value) -> Value:
        return self._broadcast("Min", a, b)

    def equal(self, a: Value, b: Value) -> Value:
        return self.as_float(self._broadcast("Equal", a, b))

    def exp(self, a: Value) -> Value:
        return self._node("Exp", a, shape=a.shape)

    def log(self, a: Value) -> Value:
        return self._node("Log", a, shape=a.shape)

    def sqrt(self, a: Value) -> Value:
        return self._node("Sqrt", a, shape=a.shape)

    def floor(self, a: Value) -> Value:
        return self._node("Floor", a, shape=a.shape)

    def tanh(self, a: Value) -> Value:
        return self._node("Tanh", a, shape=a.shape)

    def sigmoid(self, a: Value) -> Value:
        return self._node("Sigmoid", a, shape=a.shape)

    def as_float(self, a: Value) -> Value:
        return self._node("Cast", a, shape=a.shape, to=TensorProto.FLOAT)

    def relu(self, a: Value) -> Value:
        return self._node("Relu", a, shape=a.shape)

    def relu_mask(self, y: Value) -> Value:
        # Sign would do, but is three times slower on ONNX Runtime.
        return self.as_float(self._broadcast("Greater", y, self.constant(0.0)))

    def sum(self, a: Value, axis: int) -> Value:
        return self._reduce("ReduceSum", a, axis)

    def mean(self, a: Value, axis: int) -> Value:
        return self._reduce("ReduceMean", a, axis)

    def max(self, a: Value, axis: int) -> Value:
        return self._reduce("ReduceMax", a, axis)

    def matmul(
        self, a: Value, b: Value, *, flip_a: bool = False, flip_b: bool = False
    ) -> Value:
        shape = (a.shape[1 if flip_a else 0], b.shape[0 if flip_b else 1])
        return self._node(
            "Gemm", a, b, shape=shape, transA=int(flip_a), transB=int(flip_b)
        )

    def conv2d(
        self, x: Value, kernel: Value, *, strides: Pair, dilations: Pair
    ) -> Value:
        images = self.transpose(x, (0, 3, 1, 2))
        weights = self.transpose(kernel, (3, 2, 0, 1))
        return self._conv(images, weights, strides=strides, dilations=dilations)

    def conv2d_transpose(self, dy: Value, kernel: Value, *, strides: Pair) -> Value:
        images = self.transpose(dy, (0, 3, 1, 2))
        weights = self.transpose(kernel, (3, 2, 0, 1))
        sides = tuple(
            (side - 1) * stride + reach
            for side, stride, reach in zip(
                dy.shape[1:3], strides, kernel.shape[:2], strict=True
            )
        )
        dx = self._node(
            "ConvTranspose",
            images,
            weights,
            shape=(dy.shape[0], kernel.shape[2], *sides),
            strides=strides,
        )
        return self.transpose(dx, (0, 2, 3, 1))

    def depthwise_conv2d(
        self, x: Value, kernel: Value, *, strides: Pair, dilations: Pair
    ) -> Value:
        height, width, channels = kernel.shape
        images = self.transpose(x, (0, 3, 1, 2))
        weights = self.transpose(kernel, (2, 0, 1))
        weights = self.reshape(weights, (channels, 1, height, width))
        return self._conv(images, weights, strides=strides, dilations=dilations)

    def depthwise_by_kernel(
        self, x: Value, dy: Value, *, size: Pair, strides: Pair
    ) -> Value:
        # A product for each place of the kernel: ONNX Runtime takes twice as long for a
        # convolution with as many groups as batch times channels.
        count, rows, columns, channels = dy.shape
        flat = (count * rows * columns, channels)
        places = []
        for down in range(size[0]):
            for right in range(size[1]):
                seen = self._strided(x, (down, right), dy.shape, strides=strides)
                product = self.reshape(self.mul(seen, dy), flat)
                places.append(self.reshape(self.sum(product, 0), (1, channels)))
        return self.reshape(self.concat(places, 0), (*size, channels))

    def max_pool(self, x: Value, window: Pair) -> Value:
        return self._pool("MaxPool", x, window)

    def mean_pool(self, x: Value, window: Pair) -> Value:
        return self._pool("AveragePool", x, window)

    def one_hot(self, labels: Value, classes: int) -> Value:
        # ONNX Runtime has no OneHot kernel for int32 indices.
        wide = self._node("Cast", labels, shape=labels.shape, to=TensorProto.INT64)
        depth = self._embed(np.asarray(classes, np.int64))
        off_on = self._embed(np.asarray([0, 1], np.float32))
        shape = (*labels.shape, classes)
        return self._node("OneHot", wide, depth, off_on, shape=shape)

    def hits(self, logits: Value, labels: Value) -> Value:
        best = self._node("ArgMax", logits, shape=labels.shape, axis=1, keepdims=0)
        wide = self._node("Cast", labels, shape=labels.shape, to=TensorProto.INT64)
        return self.as_float(self._broadcast("Equal", best, wide))

    def name_output(self, a: Value, name: str) -> None:
        """Give a result the name the contract asks for."""
        node = helper.make_node("Identity", [a.name], [name])
        self.nodes.append(node)

    def _node(
        self, kind: str, *inputs: Value, shape: Shape, **options: Option
    ) -> Value:
        name = f"t{len(self.nodes)}"
        names = [value.name for value in inputs]
        self.nodes.append(helper.make_node(kind, names, [name], **options))
        return Value(name, shape)

    def _embed(self, array: NDArray[Any]) -> Value:
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self.constants:
            name = f"c{len(self.constants)}"
            whole = np.asarray(array, order="C")
            self.constants[key] = numpy_helper.from_array(whole, name)
            self.arrays[name] = whole
        return Value(self.constants[key].name, array.shape)

    def _ints(self, values: Shape) -> Value:
        return self._embed(np.asarray(values, np.int64))

    def _broadcast(self, kind: str, a: Value, b: Value) -> Value:
        return self._node(kind, a, b, shape=np.broadcast_shapes(a.shape, b.shape))

    def _reduce(self, kind: str, a: Value, axis: int) -> Value:
        shape = (*a.shape[:axis], *a.shape[axis + 1 :])
        return self._node(kind, a, self._ints((axis,)), shape=shape, keepdims=0)

    def _conv(
        self, images: Value, weights: Value, *, strides: Pair, dilations: Pair
    ) -> Value:
        """Correlate ``[N, C, H, W]`` with ``[O, C / groups, h, w]``, to NHWC."""
        sides = tuple(
            (side - (reach - 1) * dilation - 1) // stride + 1
            for side, reach, dilation, stride in zip(
                images.shape[2:], weights.shape[2:], dilations, strides, strict=True
            )
        )
        # One is the default, and left out.
        groups: dict[str, Option] = {}
        if images.shape[1] > weights.shape[1]:
            groups["group"] = images.shape[1] // weights.shape[1]
        y = self._node(
            "Conv",
            images,
            weights,
            shape=(images.shape[0], weights.shape[0], *sides),
            strides=strides,
            dilations=dilations,
            **groups,
        )
        return self.transpose(y, (0, 2, 3, 1))

    def _strided(self, x: Value, begin: Pair, shape: Shape, *, strides: Pair) -> Value:
        """Take ``shape`` out of ``x[N,H,W,C]`` from ``begin``, in steps."""
        _, rows, columns, _ = shape
        ends = (
            begin[0] + (rows - 1) * strides[0] + 1,
            begin[1] + (columns - 1) * strides[1] + 1,
        )
        bounds = (begin, ends, (1, 2), strides)
        return self._node("Slice", x, *(self._ints(one) for one in bounds), shape=shape)

    def _pool(self, kind: str, x: Value, window: Pair) -> Value:
        images = self.transpose(x, (0, 3, 1, 2))
        count, channels, *sides = images.shape
        tiles = tuple(s // step for s, step in zip(sides, window, strict=True))
        y = self._node(
            kind,
            images,
            shape=(count, channels, *tiles),
            kernel_shape=window,
            strides=window,
        )
        return self.transpose(y, (0, 2, 3, 1))


def emit(graph: Graph) -> bytes:
    """Return the graph as a checked ONNX file."""
    backend = OnnxBackend()
    given = {port.name: Value(port.name, port.shape) for port in graph.inputs}
    results = graph.run(backend, given)
    for name, value in results.items():
        backend.name_output(value, name)
    nodes, used = _reachable(backend.nodes, set(results))
    model = helper.make_model(
        helper.make_graph(
            nodes,
            graph.name,
            [
                helper.make_tensor_value_info(p.name, _ELEMENTS[p.dtype], p.shape)
                for p in graph.inputs
            ],
            [
                helper.make_tensor_value_info(name, TensorProto.FLOAT, value.shape)
                for name, value in results.items()
            ],
            [c for c in backend.constants.values() if c.name in used],
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="edgefed",
    )
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))


def _reachable(nodes: list[Any], wanted: set[str]) -> tuple[list[Any], set[str]]:
    """Drop what no output needs, such as the gradient by the examples."""
    kept = []
    for node in reversed(nodes):
        if wanted & set(node.output):
            wanted = wanted | set(node.input)
            kept.append(node)
    return kept[::-1], wanted
