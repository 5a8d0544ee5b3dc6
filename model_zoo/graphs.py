"""The three graphs of an artifact, over any backend. Pure.

Names and order of inputs and outputs are the contract of ``wire_protocol.manifest``.
The step is SGD with momentum, ``s' = momentum * s + g`` and ``p' = p - lr * s'``, or
Adam; ``g`` holds FedProx's proximal term ``mu * (p - anchor)`` (Li et al., 2020).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from model_zoo.backend import Backend, Shape, Tensor
from model_zoo.loss import Labelled, judge, mean_loss, squared_errors
from model_zoo.model import Model
from model_zoo.optimizers import SLOTS, stepped

Tensors = Mapping[str, Tensor]
SETTINGS: Final = ("lr", "momentum", "mu")


@dataclass(frozen=True, slots=True)
class Port:
    """An input of a graph."""

    name: str
    shape: Shape
    dtype: Literal["float32", "int32"] = "float32"


@dataclass(frozen=True, slots=True)
class Graph:
    """A function of named tensors to named tensors, to be run or emitted."""

    name: str
    inputs: tuple[Port, ...]
    run: Callable[[Backend, Tensors], dict[str, Tensor]]


def graphs(model: Model) -> tuple[Graph, Graph, Graph]:
    """Return ``train``, ``evaluate`` and ``infer``."""
    params = _ports(model, "p")
    x = Port("x", (model.batch, *model.input_shape))
    examples = (x, *_target(model), Port("w", (model.batch,)))
    slots = (*SLOTS[model.optimizer], "a")
    state = tuple(port for slot in slots for port in _ports(model, slot))
    seed = (Port("seed", (), "int32"),) if model.seeded else ()
    settings = tuple(Port(name, ()) for name in SETTINGS)

    def train(b: Backend, given: Tensors) -> dict[str, Tensor]:
        return _step(b, given, model=model)

    def evaluate(b: Backend, given: Tensors) -> dict[str, Tensor]:
        outputs, _ = model.apply(b, given["x"], params=_take(given, params))
        batch = _labelled(b, given, model=model)
        loss_sum, metric_sum = judge(b, outputs, batch=batch, head=model.head)
        return {"loss_sum": loss_sum, "metric_sum": metric_sum}

    def infer(b: Backend, given: Tensors) -> dict[str, Tensor]:
        outputs, _ = model.apply(b, given["x"], params=_take(given, params))
        if model.task != "reconstruction":
            return {"outputs": outputs}
        target = model.target(b, given["x"], params=_take(given, params))
        score, _ = squared_errors(b, outputs, target)
        return {"outputs": outputs, "score": score}

    return (
        Graph("train", (*params, *state, *examples, *seed, *settings), train),
        Graph("evaluate", (*params, *examples), evaluate),
        Graph("infer", (*params, x), infer),
    )


def _step(b: Backend, given: Tensors, *, model: Model) -> dict[str, Tensor]:
    params = _take(given, _ports(model, "p"))
    outputs, pull = model.apply(b, given["x"], params=params, seed=given.get("seed"))
    batch = _labelled(b, given, model=model)
    loss, gradient = mean_loss(b, outputs, batch=batch, head=model.head)
    new_params: dict[str, Tensor] = {}
    new_state: dict[str, Tensor] = {}
    triples = zip(model.layout.specs, params, pull(gradient), strict=True)
    for i, (spec, before, by_param) in enumerate(triples):
        state = tuple(given[f"{slot}{i:02}"] for slot in SLOTS[model.optimizer])
        after = before
        if spec.trainable:
            proximal = b.mul(given["mu"], b.sub(before, given[f"a{i:02}"]))
            after, state = stepped(
                b,
                before,
                gradient=b.add(by_param, proximal),
                state=state,
                settings=given,
            )
        new_params[f"new_p{i:02}"] = after
        for slot, tensor in zip(SLOTS[model.optimizer], state, strict=True):
            new_state[f"new_{slot}{i:02}"] = tensor
    return {"loss": loss, **new_params, **new_state}


def _target(model: Model) -> tuple[Port, ...]:
    match model.task:
        case "classification":
            return (Port("y", (model.batch,), "int32"),)
        case "reconstruction":
            return ()
        case _:
            return (Port("y", (model.batch, model.outputs)),)


def _labelled(b: Backend, given: Tensors, *, model: Model) -> Labelled:
    if model.task != "reconstruction":
        return Labelled(given["y"], given["w"])
    params = _take(given, _ports(model, "p"))
    return Labelled(model.target(b, given["x"], params=params), given["w"])


def _ports(model: Model, letter: str) -> tuple[Port, ...]:
    return tuple(
        Port(f"{letter}{i:02}", spec.shape) for i, spec in enumerate(model.layout.specs)
    )


def _take(given: Tensors, ports: tuple[Port, ...]) -> list[Tensor]:
    return [given[port.name] for port in ports]
