"""From a trained file to a folder of one's own: read, write, build, prove."""

import math
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from model_zoo.building import build
from model_zoo.importing.constructors import layer_of, shape_after
from model_zoo.importing.definition_text import Named, definition_text
from model_zoo.importing.network import Ending, Network, Operation
from model_zoo.importing.network_files import read_network
from model_zoo.importing.sandbox import READING, RUNNING, run_child
from model_zoo.model import Model, PlanDefaults
from model_zoo.own_folder import load_model
from model_zoo.runners import Runner, litert, onnx_runtime, oracle
from model_zoo.scaffold.writing import check_free, checked_name, make_folder
from model_zoo.stepping import named as named_tensors
from wire_protocol.errors import ConfigError
from wire_protocol.manifest import INITIAL, Task
from wire_protocol.params import Vector

SUFFIXES: Final = (".keras", ".onnx")
BATCH: Final = 16
BATCHES: Final = 4
TOLERANCE: Final = 1e-4
"""Of outputs, relative to the largest where that is above 1."""
_PLAN: Final = PlanDefaults(rounds=10, epochs=1, learning_rate=0.01, momentum=0.9)

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Converted:
    """What was imported.

    Attributes:
        model: As its new definition makes it.
        ending: What the loss has in it now.
        differences: Greatest difference of outputs, by what computed ours.
        examples: On how many.
    """

    model: Model
    ending: Ending
    differences: dict[str, float]
    examples: int


def read_foreign(path: Path) -> Network:
    """Read a file in a process of its own.

    Raises:
        ConfigError: It is broken, too large, or has layers without a counterpart.
    """
    if path.suffix not in SUFFIXES:
        raise ConfigError(
            f"{path.name} is neither .keras nor .onnx",
            remedy="save it with model.save('model.keras') or torch.onnx.export",
        )
    if not path.is_file():
        raise ConfigError(f"there is no file {path}", remedy="correct the path")
    with tempfile.TemporaryDirectory() as folder:
        run_child(
            "model_zoo.importing.reading",
            [str(path.absolute()), folder],
            limits=READING,
        )
        return read_network(Path(folder))


def convert(
    path: Path,
    *,
    folder: Path,
    name: str,
    task: Task | None = None,
    head: bool = False,
    seed: int = 0,
    read: Callable[[Path], Network] = read_foreign,
) -> Converted:
    """Import ``path`` into ``folder``, which is made, or empty.

    Args:
        path: A ``.keras`` or ``.onnx`` file.
        folder: Where the model goes.
        name: Of the model.
        task: What it is for; None: what its end says.
        head: Whether only the last dense layer is trained.
        seed: Of the examples on which outputs are compared.
        read: Reads the file.

    Raises:
        ConfigError: The file cannot be imported, or computes something else; then
            nothing is written.
    """
    checked_name(name)
    check_free(folder)
    network = _for_task(read(path), task)
    network = _head_only(network) if head else network
    model, text = _defined(network, name=name, file=path.name)
    initial = _initial(network, model)
    examples = _examples(network, model, seed=seed)
    wanted = _original(path, network, examples)
    differences = {
        "numpy": _difference(oracle(model), model, network.ending, initial)(
            examples, wanted
        )
    }
    make_folder(folder)
    try:
        (folder / "definition.py").write_text(text, encoding="utf-8")
        (folder / INITIAL).write_bytes(initial.astype("<f4").tobytes())
    except OSError as error:
        raise ConfigError(
            f"{folder} cannot be written: {error.strerror}", remedy="choose --out"
        ) from error
    model = load_model(folder)
    build(model, folder / "artifact", initial=initial)
    for runtime, run in (
        ("litert", litert(folder / "artifact")),
        ("onnxruntime", onnx_runtime(folder / "artifact")),
    ):
        judged = _difference(run, model, network.ending, initial)
        differences[runtime] = judged(examples, wanted)
    return Converted(model, network.ending, differences, len(examples))


def _for_task(network: Network, task: Task | None) -> Network:
    """Decide the task, and give a sigmoid back that its loss has not in it."""
    operations = network.operations
    shape = shape_after(operations, network.input_shape)
    if task is None and len(shape) > 1 and shape == network.input_shape:
        task = "reconstruction"
    if task is None:
        task = _likely(network, math.prod(shape))
    ends: dict[Ending, Task] = {
        "softmax": "classification",
        "log_softmax": "classification",
    }
    if ends.get(network.ending, task) != task:
        raise ConfigError(
            f"the network ends in a {network.ending}, which suits no {task}",
            remedy="leave --task out",
        )
    if network.ending == "sigmoid" and task != "binary":
        operations = (*operations, Operation("sigmoid"))
        return replace(network, operations=operations, ending="linear", loss=task)
    return replace(network, loss=task)


def _likely(network: Network, outputs: int) -> Task:
    if network.ending in ("softmax", "log_softmax"):
        return "classification"
    if network.ending == "sigmoid":
        return "binary"
    tasks: dict[str, Task] = {
        "classification": "classification",
        "regression": "regression",
        "binary": "binary",
    }
    return tasks.get(network.loss, "classification" if outputs > 1 else "regression")


def _head_only(network: Network) -> Network:
    """Freeze everything before the last dense layer."""
    places = [i for i, one in enumerate(network.operations) if one.kind == "dense"]
    if not places:
        raise ConfigError(
            "the network has no dense layer to train alone",
            remedy="leave --train head out",
        )
    frozen = tuple(
        replace(one, frozen=True) if i < places[-1] and one.weights else one
        for i, one in enumerate(network.operations)
    )
    return replace(network, operations=frozen)


def _defined(network: Network, *, name: str, file: str) -> tuple[Model, str]:
    """Return the model, and the text that defines it."""
    shape = shape_after(network.operations, network.input_shape)
    task: Task = network.loss  # type: ignore[assignment] # decided in _for_task
    outputs, spread = math.prod(shape), _spread(network)
    model = Model(
        name=name,
        data=name,
        input_shape=network.input_shape,
        outputs=outputs,
        batch=BATCH,
        layers=tuple(layer_of(operation) for operation in network.operations),
        plan=_PLAN,
        spread=spread,
        task=task,
        tokens=network.tokens,
    )
    text = definition_text(
        network,
        Named(name, file=file, task=task, outputs=outputs, batch=BATCH, spread=spread),
    )
    return model, text


def _spread(network: Network) -> float:
    """Return how large inputs are that a first scaling brings to 1."""
    first = network.operations[0]
    if first.kind == "scale" and isinstance(first.args[0], float) and first.args[0]:
        return abs(1 / first.args[0])
    return 1.0


def _initial(network: Network, model: Model) -> Vector:
    tensors = [array for one in network.operations for array in one.all_weights()]
    wanted = [spec.shape for spec in model.layout.specs]
    if [tensor.shape for tensor in tensors] != wanted:
        raise ConfigError("the file's weights are not those of its layers")
    return model.layout.join(tensors)


def _examples(network: Network, model: Model, *, seed: int) -> Array:
    rng = np.random.default_rng(seed)
    shape = (BATCH * BATCHES, *model.input_shape)
    if network.tokens:
        return rng.integers(0, network.tokens, shape).astype(np.float32)
    return (model.spread * rng.uniform(-1, 1, shape)).astype(np.float32)


def _original(path: Path, network: Network, examples: Array) -> Array:
    """Return what the file itself makes of the examples, in a process of its own."""
    axes = network.axes or tuple(range(examples.ndim - 1))
    theirs = examples.transpose(0, *(axis + 1 for axis in axes))
    if network.tokens:
        theirs = theirs.astype(np.int32)
    with tempfile.TemporaryDirectory() as folder:
        given, result = Path(folder) / "x.npy", Path(folder) / "y.npy"
        np.save(given, np.ascontiguousarray(theirs), allow_pickle=False)
        run_child(
            "model_zoo.importing.original",
            [str(path.absolute()), str(given), str(result)],
            limits=RUNNING,
        )
        outputs: Array = np.load(result, allow_pickle=False)
    return outputs


def _difference(
    run: Runner, model: Model, ending: Ending, initial: Vector
) -> Callable[[Array, Array], float]:
    """Return the judge of outputs: the greatest difference, if it is small."""

    def judged(examples: Array, wanted: Array) -> float:
        params = named_tensors("p", list(model.layout.split(initial)))
        batches = np.split(examples, BATCHES)
        ours = np.concatenate(
            [run("infer", {**params, "x": batch})["outputs"] for batch in batches]
        ).astype(np.float64)
        ours = _ended(ours, ending)
        if ours.size != wanted.size:
            raise ConfigError(
                f"the file gives {list(wanted.shape)} outputs, the import "
                f"{list(ours.shape)}"
            )
        worst = float(np.max(np.abs(ours.reshape(wanted.shape) - wanted)))
        if not worst <= TOLERANCE * max(1.0, float(np.max(np.abs(wanted)))):
            raise ConfigError(
                f"the imported model computes otherwise: outputs differ by {worst:.3g}",
                remedy="this is a fault of the import; please report the network",
            )
        return worst

    return judged


def _ended(outputs: Array, ending: Ending) -> Array:
    if ending == "linear":
        return outputs
    if ending == "sigmoid":
        return np.asarray(1 / (1 + np.exp(-outputs)))
    shifted = outputs - outputs.max(-1, keepdims=True)
    log_softmax = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    return np.asarray(log_softmax if ending == "log_softmax" else np.exp(log_softmax))
