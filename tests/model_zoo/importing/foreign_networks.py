"""Small foreign networks, made when they are needed: no binary file is kept."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from model_zoo.importing.constructors import layer_of, shape_after
from model_zoo.importing.conversion import _ended
from model_zoo.importing.network import Network
from model_zoo.model import Model, PlanDefaults
from model_zoo.numpy_backend import NumpyBackend

Array = NDArray[Any]
Make = Callable[[], onnx.ModelProto]


def weights(*shape: int, seed: int = 0, least: float = -1.0) -> Array:
    rng = np.random.default_rng((seed, *shape))
    return rng.uniform(least, 1, shape).astype(np.float32)


def onnx_model(
    nodes: Sequence[Any],
    *,
    shape: Sequence[int | str],
    outputs: int | Sequence[int],
    kind: int = TensorProto.FLOAT,
    **constants: Array,
) -> onnx.ModelProto:
    """Make a model of nodes that lead from ``x`` to ``y``."""
    sides = [outputs] if isinstance(outputs, int) else outputs
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", *sides])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8
    )


def node(kind: str, takes: str, gives: str, **attributes: Any) -> Any:
    return helper.make_node(kind, takes.split(), gives.split(), **attributes)


def mlp() -> onnx.ModelProto:
    """As torch.onnx.export writes one: Gemm with transposed weights."""
    return onnx_model(
        [
            node("Gemm", "x w1 b1", "h1", transB=1),
            node("Relu", "h1", "h2"),
            node("Gemm", "h2 w2 b2", "y", transB=1),
        ],
        shape=["batch", 6],
        outputs=3,
        w1=weights(8, 6),
        b1=weights(8),
        w2=weights(3, 8),
        b2=weights(3),
    )


def torch_image() -> onnx.ModelProto:
    """Channels first, symmetric padding with a stride, flattened before the end."""
    return onnx_model(
        [
            node("Conv", "x k1 b1", "c1", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
            node("BatchNormalization", "c1 g m o v", "n1", epsilon=1e-3),
            node("Relu", "n1", "r1"),
            node("MaxPool", "r1", "p1", kernel_shape=[2, 2], strides=[2, 2]),
            node("Conv", "p1 k2", "c2", pads=[1, 1, 1, 1], strides=[2, 2]),
            node("Tanh", "c2", "r2"),
            node("Flatten", "r2", "f"),
            node("Gemm", "f w b", "z", transB=1),
            node("Softmax", "z", "y", axis=1),
        ],
        shape=["n", 2, 8, 12],
        outputs=3,
        k1=weights(4, 2, 3, 3),
        b1=weights(4),
        g=weights(4, seed=1),
        m=weights(4, seed=2),
        o=weights(4, seed=3),
        v=weights(4, least=0.5),
        k2=weights(5, 4, 3, 3),
        w=weights(3, 30),
        b=weights(3),
    )


def tensorflow_image() -> onnx.ModelProto:
    """Channels last, turned around for each convolution, MatMul and Add at the end."""
    return onnx_model(
        [
            node("Sub", "x mean", "s"),
            node("Div", "s deviation", "d"),
            node("Transpose", "d", "t1", perm=[0, 3, 1, 2]),
            node("Conv", "t1 k1 b1", "c1", auto_pad="SAME_UPPER", strides=[2, 2]),
            node("Clip", "c1 zero six", "r1"),
            node("Transpose", "r1", "t2", perm=[0, 2, 3, 1]),
            node("Add", "t2 shift", "a"),
            node("Reshape", "a flat", "f"),
            node("MatMul", "f w", "z"),
            node("Add", "z b", "y"),
        ],
        shape=[1, 6, 5, 3],
        outputs=4,
        mean=weights(3),
        deviation=weights(3, least=0.5),
        k1=weights(4, 3, 3, 3),
        b1=weights(4),
        zero=np.array(0, np.float32),
        six=np.array(6, np.float32),
        shift=weights(1, 1, 1, 4),
        flat=np.array([-1, 36], np.int64),
        w=weights(36, 4),
        b=weights(4),
    )


def mobile_image() -> onnx.ModelProto:
    """Depthwise and pointwise, a shortcut around them, a global pool."""
    return onnx_model(
        [
            node("Conv", "x k0", "h", pads=[1, 1, 1, 1]),
            node("Conv", "h kd bd", "d", group=4, pads=[1, 1, 1, 1]),
            node("Relu", "d", "r"),
            node("Conv", "r kp", "p"),
            node("Add", "p h", "s"),
            node("GlobalAveragePool", "s", "g"),
            node("Flatten", "g", "f"),
            node("Gemm", "f w b", "z", transB=1),
            node("Sigmoid", "z", "y"),
        ],
        shape=["n", 3, 6, 6],
        outputs=2,
        k0=weights(4, 3, 3, 3),
        kd=weights(4, 1, 3, 3),
        bd=weights(4),
        kp=weights(4, 4, 1, 1),
        w=weights(2, 4),
        b=weights(2),
    )


def torch_signal() -> onnx.ModelProto:
    """A 1-D convolution, and the mean over time that torch writes as ReduceMean."""
    return onnx_model(
        [
            node("Conv", "x k b", "c", pads=[2, 2]),
            node("Relu", "c", "r"),
            node("AveragePool", "r", "p", kernel_shape=[2], strides=[2]),
            node("ReduceMean", "p axes", "m", keepdims=0),
            node("Gemm", "m w b2", "z"),
            node("LogSoftmax", "z", "y"),
        ],
        shape=["n", 3, 11],
        outputs=3,
        k=weights(6, 3, 5),
        b=weights(6),
        axes=np.array([2], np.int64),
        w=weights(6, 3),
        b2=weights(3),
    )


def _recurrent(*behind: Any, takes: str = "t w r b", **more: Any) -> onnx.ModelProto:
    """A GRU as PyTorch writes one, the time first, with what comes behind it."""
    constants = {
        "w": weights(1, 15, 3),
        "r": weights(1, 15, 5),
        "b": weights(1, 30),
        "k": weights(2, 30 if any(one.op_type == "Flatten" for one in behind) else 5),
        "last": np.array(-1, np.int64),
        "one": np.array([1], np.int64),
        **more,
    }
    return onnx_model(
        [
            node("Transpose", "x", "t", perm=[1, 0, 2]),
            helper.make_node(
                "GRU",
                takes.replace("-", "").split(" "),
                ["states", "state"],
                hidden_size=5,
                linear_before_reset=1,
            ),
            *behind,
            node("Gemm", "h k", "y", transB=1),
        ],
        shape=["n", 6, 3],
        outputs=2,
        **constants,
    )


def gru_states() -> onnx.ModelProto:
    """All states, by the older exporter; its first one is worked out of the batch."""
    return _recurrent(
        node("Shape", "x", "s", start=0, end=1),
        node("Concat", "one s five", "sides", axis=0),
        node("ConstantOfShape", "sides", "zeros"),
        node("Squeeze", "states one", "q"),
        node("Transpose", "q", "turned", perm=[1, 0, 2]),
        node("Flatten", "turned", "h"),
        takes="t w r b - zeros",
        five=np.array([5], np.int64),
    )


def gru_last() -> onnx.ModelProto:
    """The last of all states, by the newer exporter; without a bias."""
    return _recurrent(
        node("Transpose", "states", "d", perm=[0, 2, 1, 3]),
        node("Shape", "d", "s"),
        node("Gather", "s places", "sides"),
        node("Reshape", "d sides", "q"),
        node("Transpose", "q", "turned", perm=[1, 0, 2]),
        node("Gather", "turned last", "h", axis=1),
        takes="t w r",
        places=np.array([0, 1, 3], np.int64),
    )


def gru_state() -> onnx.ModelProto:
    """The state it ends with; the first is a slice of zeros."""
    return _recurrent(
        node("Gather", "state last", "h", axis=0),
        node("Expand", "zero sides", "all"),
        node("Slice", "all from_ one from_", "zeros"),
        takes="t w r b - zeros",
        zero=np.zeros((), np.float32),
        sides=np.array([1, 5, 5], np.int64),
        from_=np.array([0], np.int64),
    )


def norms() -> onnx.ModelProto:
    """Groups written as instances, and a layer norm over the channels."""
    return onnx_model(
        [
            node("Conv", "x k", "c", pads=[1, 1]),
            node("Reshape", "c groups", "g"),
            node("InstanceNormalization", "g ones zeros", "n", epsilon=1e-4),
            node("Shape", "c", "sides"),
            node("Reshape", "n sides", "back"),
            node("Mul", "back scale", "m"),
            node("Add", "m offset", "a"),
            node("Transpose", "a", "t", perm=[0, 2, 1]),
            node("LayerNormalization", "t gain bias", "l", epsilon=1e-5),
            node("Flatten", "l", "f"),
            node("Gemm", "f w", "y", transB=1),
        ],
        shape=["n", 3, 8],
        outputs=2,
        k=weights(4, 3, 3),
        groups=np.array([0, 2, -1], np.int64),
        ones=np.ones(2, np.float32),
        zeros=np.zeros(2, np.float32),
        scale=weights(4, 1, seed=1),
        offset=weights(4, 1, seed=2),
        gain=weights(4, seed=3),
        bias=weights(4, seed=4),
        w=weights(2, 32),
    )


def autoencoder() -> onnx.ModelProto:
    """Smaller and larger again in three ways, back to what came in."""
    return onnx_model(
        [
            node("Conv", "x k1", "a", pads=[1, 1, 1, 1], strides=[2, 2]),
            node("Relu", "a", "b"),
            node(
                *("ConvTranspose", "b k2", "c"),
                pads=[1, 1, 1, 1],
                strides=[2, 2],
                output_padding=[1, 1],
            ),
            node("Conv", "c k3", "d", pads=[1, 1, 1, 1], strides=[2, 2]),
            node(
                *("Resize", "d none twice", "e"),
                mode="nearest",
                coordinate_transformation_mode="asymmetric",
                nearest_mode="floor",
            ),
            node("MaxPool", "e", "f", kernel_shape=[2, 2], strides=[2, 2]),
            node("ConvTranspose", "f k4", "y", pads=[1, 1, 1, 1], strides=[2, 2]),
        ],
        shape=["n", 1, 8, 8],
        outputs=(1, 8, 8),
        k1=weights(3, 1, 3, 3),
        k2=weights(3, 2, 3, 3),
        k3=weights(2, 2, 3, 3),
        none=np.empty(0, np.float32),
        twice=np.array([1, 1, 2, 2], np.float32),
        k4=weights(2, 1, 4, 4),
    )


def tokens() -> onnx.ModelProto:
    """Whole numbers, each looked up."""
    return onnx_model(
        [
            node("Gather", "table x", "e", axis=0),
            node("Flatten", "e", "f"),
            node("Gemm", "f w", "y", transB=1),
        ],
        shape=["n", 4],
        outputs=2,
        kind=TensorProto.INT64,
        table=weights(9, 3),
        w=weights(2, 12),
    )


def signal_mean() -> onnx.ModelProto:
    """The mean over a signal that PyTorch writes as one over an image."""
    return onnx_model(
        [
            node("Conv", "x k", "c"),
            node("Unsqueeze", "c place", "u"),
            node("ReduceMean", "u both", "m", keepdims=1),
            node("Squeeze", "m place", "s"),
            node("Reshape", "s flat", "f"),
            node("Gemm", "f w", "y", transB=1),
        ],
        shape=["n", 3, 9],
        outputs=2,
        k=weights(4, 3, 3),
        place=np.array([-2], np.int64),
        both=np.array([-1, -2], np.int64),
        flat=np.array([-1, 4], np.int64),
        w=weights(2, 4),
    )


ONNX_NETWORKS: Final[dict[str, Make]] = {
    make.__name__: make
    for make in (
        *(mlp, torch_image, tensorflow_image, mobile_image, torch_signal),
        *(gru_states, gru_last, gru_state, norms, autoencoder, tokens, signal_mean),
    )
}


def inputs_of(network: Network, count: int) -> Array:
    """Return examples, ours: tokens where the network looks them up."""
    if network.tokens:
        shape = (count, *network.input_shape)
        return np.random.default_rng(0).integers(0, network.tokens, shape)
    return weights(count, *network.input_shape)


def write(model: onnx.ModelProto, folder: Path) -> Path:
    path = folder / "net.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def outputs_of(network: Network, x: Array) -> Array:
    """Run the operations as layers here, in float64, with the file's ending."""
    layers = tuple(layer_of(operation) for operation in network.operations)
    shape = shape_after(network.operations, network.input_shape)
    model = Model(
        name="imported",
        data="none",
        input_shape=network.input_shape,
        outputs=int(np.prod(shape)),
        batch=len(x),
        layers=layers,
        plan=PlanDefaults(1, 1, 0.1, 0.9),
        task="regression" if len(shape) == 1 else "reconstruction",
        tokens=network.tokens,
    )
    params = [w for one in network.operations for w in one.all_weights()]
    assert [w.shape for w in params] == [spec.shape for spec in model.layout.specs]
    outputs, _ = model.apply(NumpyBackend(), x.astype(np.float64), params=params)
    return _ended(outputs, network.ending)


def theirs(network: Network, x: Array) -> Array:
    """Turn examples of ours around as the file wants them."""
    return np.ascontiguousarray(x.transpose(0, *(axis + 1 for axis in network.axes)))
