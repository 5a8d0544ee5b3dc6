"""The TFLite backend: emits the graphs as one file with a signature for each.

With ``quantize.tflite_files`` the only importer of TensorFlow, which is needed to build
files and for nothing else. Only operators builtin to TFLite are allowed, so every
runtime can run the file.
"""
# ruff: noqa: D102 - ``Backend`` documents the methods, once.

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Read by TensorFlow when it is imported: no start-up chatter on the user's terminal.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

import tensorflow as tf

from model_zoo.backend import Pair, Shape, Tensor
from model_zoo.graphs import Graph


class TfliteBackend:
    """Implements ``Backend`` over TensorFlow's graph tensors."""

    def constant(self, value: float | NDArray[np.floating[Any]]) -> Tensor:
        return tf.constant(np.asarray(value, np.float32))

    def shape(self, a: Tensor) -> Shape:
        return tuple(a.shape.as_list())

    def reshape(self, a: Tensor, shape: Shape) -> Tensor:
        return tf.reshape(a, shape)

    def transpose(self, a: Tensor, order: Shape) -> Tensor:
        return tf.transpose(a, order)

    def pad(self, a: Tensor, widths: tuple[Pair, ...]) -> Tensor:
        return tf.pad(a, widths)

    def crop(self, a: Tensor, begin: Shape, *, size: Shape) -> Tensor:
        return tf.slice(a, begin, size)

    def tile(self, a: Tensor, times: Shape) -> Tensor:
        return tf.tile(a, times)

    def concat(self, parts: Sequence[Tensor], axis: int) -> Tensor:
        return tf.concat(parts, axis)

    def add(self, a: Tensor, b: Tensor) -> Tensor:
        return tf.add(a, b)

    def sub(self, a: Tensor, b: Tensor) -> Tensor:
        return tf.subtract(a, b)

    def mul(self, a: Tensor, b: Tensor) -> Tensor:
        return tf.multiply(a, b)

    def div(self, a: Tensor, b: Tensor) -> Tensor:
        return tf.divide(a, b)

    def maximum(self, a: Tensor, b: Tensor) -> Tensor:
        return tf.maximum(a, b)

    def minimum(self, a: Tensor, b: Tensor) -> Tensor:
        return tf.minimum(a, b)

    def equal(self, a: Tensor, b: Tensor) -> Tensor:
        return tf.cast(tf.equal(a, b), tf.float32)

    def exp(self, a: Tensor) -> Tensor:
        return tf.exp(a)

    def log(self, a: Tensor) -> Tensor:
        return tf.math.log(a)

    def sqrt(self, a: Tensor) -> Tensor:
        return tf.sqrt(a)

    def floor(self, a: Tensor) -> Tensor:
        return tf.floor(a)

    def tanh(self, a: Tensor) -> Tensor:
        return tf.tanh(a)

    def sigmoid(self, a: Tensor) -> Tensor:
        return tf.sigmoid(a)

    def as_float(self, a: Tensor) -> Tensor:
        return tf.cast(a, tf.float32)

    def relu(self, a: Tensor) -> Tensor:
        return tf.nn.relu(a)

    def relu_mask(self, y: Tensor) -> Tensor:
        # One operator, and five times faster than compare and cast on old runtimes.
        return tf.sign(y)

    def sum(self, a: Tensor, axis: int) -> Tensor:
        return tf.reduce_sum(a, axis)

    def mean(self, a: Tensor, axis: int) -> Tensor:
        return tf.reduce_mean(a, axis)

    def max(self, a: Tensor, axis: int) -> Tensor:
        return tf.reduce_max(a, axis)

    def matmul(
        self, a: Tensor, b: Tensor, *, flip_a: bool = False, flip_b: bool = False
    ) -> Tensor:
        # The reshape hides the transpose from the converter, which would otherwise
        # fold it into FULLY_CONNECTED: 3 to 5 times slower than BATCH_MATMUL.
        if flip_a:
            a = tf.transpose(a)
        if flip_b:
            b = tf.transpose(b)
        product = tf.matmul(tf.expand_dims(a, 0), tf.expand_dims(b, 0))
        return tf.reshape(product, (a.shape[0], b.shape[1]))

    def conv2d(
        self, x: Tensor, kernel: Tensor, *, strides: Pair, dilations: Pair
    ) -> Tensor:
        return tf.nn.conv2d(x, kernel, strides, "VALID", dilations=dilations)

    def conv2d_transpose(self, dy: Tensor, kernel: Tensor, *, strides: Pair) -> Tensor:
        count, rows, columns, _ = dy.shape
        height, width, channels, _ = kernel.shape
        sides = (
            (rows - 1) * strides[0] + height,
            (columns - 1) * strides[1] + width,
        )
        shape = (count, *sides, channels)
        return tf.nn.conv2d_transpose(dy, kernel, shape, strides, "VALID")

    def depthwise_conv2d(
        self, x: Tensor, kernel: Tensor, *, strides: Pair, dilations: Pair
    ) -> Tensor:
        # Not tf.nn.depthwise_conv2d: it dilates by SPACE_TO_BATCH and back.
        return tf.raw_ops.DepthwiseConv2dNative(
            input=x,
            filter=tf.expand_dims(kernel, 3),
            strides=[1, *strides, 1],
            padding="VALID",
            dilations=[1, *dilations, 1],
        )

    def depthwise_by_kernel(
        self, x: Tensor, dy: Tensor, *, size: Pair, strides: Pair
    ) -> Tensor:
        # One depthwise convolution over batch times channels, the output's gradient as
        # kernel and the stride as dilation: half the time of shifted products.
        count, rows, columns, channels = x.shape
        _, high, wide, _ = dy.shape
        every = count * channels
        images = tf.reshape(tf.transpose(x, (1, 2, 0, 3)), (1, rows, columns, every))
        weights = tf.reshape(tf.transpose(dy, (1, 2, 0, 3)), (high, wide, every))
        each = self.depthwise_conv2d(images, weights, strides=(1, 1), dilations=strides)
        by_example = tf.reshape(each, (size[0] * size[1], count, channels))
        return tf.reshape(tf.reduce_sum(by_example, 1), (*size, channels))

    def max_pool(self, x: Tensor, window: Pair) -> Tensor:
        return tf.nn.max_pool2d(x, window, window, "VALID")

    def mean_pool(self, x: Tensor, window: Pair) -> Tensor:
        return tf.nn.avg_pool2d(x, window, window, "VALID")

    def one_hot(self, labels: Tensor, classes: int) -> Tensor:
        return tf.one_hot(labels, classes)

    def hits(self, logits: Tensor, labels: Tensor) -> Tensor:
        best = tf.argmax(logits, 1, tf.int32)
        return tf.cast(tf.equal(best, labels), tf.float32)


def emit(graphs: tuple[Graph, ...]) -> bytes:
    """Return a TFLite file whose signatures are the graphs."""
    functions = {graph.name: traced(TfliteBackend(), graph) for graph in graphs}
    with converting(functions) as converter:
        return bytes(converter.convert())


@contextmanager
def converting(functions: dict[str, Callable[..., Tensor]]) -> Iterator[Any]:
    """Yield a converter to builtin operators; its files are gone afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(tf.Module(), folder, signatures=functions)
        converter = tf.lite.TFLiteConverter.from_saved_model(
            folder, signature_keys=list(functions)
        )
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        yield converter


def traced(backend: TfliteBackend, graph: Graph) -> Callable[..., Tensor]:
    """Return the graph as a concrete function of its ports, in order."""
    specs = [
        tf.TensorSpec(port.shape, port.dtype, name=port.name) for port in graph.inputs
    ]

    def run(*values: Tensor) -> dict[str, Tensor]:
        names = [port.name for port in graph.inputs]
        return graph.run(backend, dict(zip(names, values, strict=True)))

    function = tf.function(run, autograph=False)
    concrete: Callable[..., Tensor] = function.get_concrete_function(*specs)
    return concrete
