"""The foreign network itself, run on given inputs: ``python -m ... FILE X.npy Y.npy``.

ONNX Runtime runs an ``.onnx`` file as it is. For a ``.keras`` file, Keras makes each of
its layers anew from plain numbers and words, and is given the weights: its own loader,
which can run code of the file, is never called.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from model_zoo.importing.sandbox import RUNNING, limit_myself, report
from wire_protocol.errors import ConfigError

Array = NDArray[Any]
_WHOLE: Final = {"tensor(int32)": np.int32, "tensor(int64)": np.int64}
_ARGUMENTS: Final = frozenset({
    "activation", "axis", "center", "depth_multiplier", "dilation_rate", "epsilon",
    "filters", "groups", "input_dim", "interpolation", "kernel_size", "max_value",
    "negative_slope", "offset", "output_dim", "padding", "pool_size", "rate",
    "recurrent_activation", "reset_after", "return_sequences", "scale", "size",
    "strides", "threshold", "units", "use_bias",
})  # fmt: skip


def run_onnx(path: Path, x: Array) -> Array:
    """Run the file's graph on ``x``, an example at a time where its batch is one."""
    import onnxruntime  # noqa: PLC0415 - an extra

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        path.read_bytes(), options, providers=["CPUExecutionProvider"]
    )
    entry = session.get_inputs()[0]
    x = x.astype(_WHOLE.get(entry.type, np.float32))
    fixed = entry.shape[0] if isinstance(entry.shape[0], int) else len(x)
    parts = [
        session.run(None, {entry.name: x[start : start + fixed]})[0]
        for start in range(0, len(x) - fixed + 1, fixed)
    ]
    return np.concatenate(parts)


def run_keras(path: Path, x: Array) -> Array:
    """Run the layers of the file's configuration on ``x``."""
    import keras  # noqa: PLC0415 - an extra

    from model_zoo.importing.chain import Row, Shortcut  # noqa: PLC0415
    from model_zoo.importing.keras_archive import open_archive  # noqa: PLC0415
    from model_zoo.importing.keras_file import (  # noqa: PLC0415
        folders_of,
        layers_of,
    )
    from model_zoo.importing.keras_layers import MAKERS  # noqa: PLC0415
    from model_zoo.importing.weights import WeightsFile  # noqa: PLC0415

    archive = open_archive(path)
    weights = WeightsFile(archive.weights)
    layers, row, _ = layers_of(archive.config)
    by_name = {str(layer["config"]["name"]): layer for layer in layers}
    folders = folders_of(layers)

    def one(name: str, value: Any) -> Any:  # noqa: ANN401 - Keras's tensors
        plain = by_name[name]
        if plain["class_name"] not in MAKERS:
            raise ConfigError(f"{name:.80} has no counterpart here")
        layer = getattr(keras.layers, plain["class_name"])(**_plain(plain["config"]))
        layer.build(value.shape)
        cell = "cell/" if plain["class_name"] == "GRU" else ""
        variables = layer.cell.weights if cell else layer.weights
        variables = [v for v in variables if "seed" not in v.name]
        for number, variable in enumerate(variables):
            place = f"layers/{folders[name]}/{cell}vars/{number}"
            variable.assign(weights.read(place, shape=tuple(variable.shape), name=name))
        return layer(value)

    def walked(row: Row, value: Any) -> Any:  # noqa: ANN401 - Keras's tensors
        for step in row:
            if isinstance(step, Shortcut):
                value = value + walked(step.inner, value)
            else:
                value = one(step, value)
        return value

    return np.asarray(walked(row, keras.ops.convert_to_tensor(x)))


def _plain(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what shapes a layer, and only if it is a word or numbers."""
    return {
        key: value
        for key, value in config.items()
        if key in _ARGUMENTS
        and (
            isinstance(value, (str, int, float, bool, type(None)))
            or (isinstance(value, list) and "{" not in str(value))
        )
    }


def main(arguments: Sequence[str]) -> int:
    """Run ``arguments[0]`` on the array in the second file, write it to the third."""
    limit_myself(RUNNING)
    path, given, result = (Path(argument) for argument in arguments)
    x = np.load(given, allow_pickle=False)
    run = run_onnx if path.suffix == ".onnx" else run_keras
    try:
        np.save(result, run(path, x), allow_pickle=False)
    except ConfigError as error:
        return report(error)
    # whatever the libraries raise: the parent says that the file cannot be run
    except Exception as error:  # noqa: BLE001
        return report(ConfigError(f"{path.name} cannot be run: {error!r:.300}"))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
