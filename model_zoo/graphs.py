"""The three graphs of an artifact, over any backend. Pure.

Names and order of inputs and outputs are the contract of ``wire_protocol.manifest``.
The step is SGD with momentum, ``s' = momentum * s + g`` and ``p' = p - lr * s'``, where
``g`` holds FedProx's proximal term ``mu * (p - anchor)`` (Li et al., 2020).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from model_zoo.backend import Backend, Shape, Tensor
from model_zoo.loss import Labelled, judge, mean_loss
from model_zoo.model import Model

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
    y = Port("y", (model.batch,), "int32")
    w = Port("w", (model.batch,))
    state = (*_ports(model, "s"), *_ports(model, "a"))
    settings = tuple(Port(name, ()) for name in SETTINGS)

    def train(b: Backend, given: Tensors) -> dict[str, Tensor]:
        return _step(b, given, model=model)

    def evaluate(b: Backend, given: Tensors) -> dict[str, Tensor]:
        logits, _ = model.apply(b, given["x"], params=_take(given, params))
        batch = Labelled(given["y"], given["w"])
        loss_sum, correct = judge(b, logits, batch=batch)
        return {"loss_sum": loss_sum, "correct": correct}

    def infer(b: Backend, given: Tensors) -> dict[str, Tensor]:
        logits, _ = model.apply(b, given["x"], params=_take(given, params))
        return {"logits": logits}

    return (
        Graph("train", (*params, *state, x, y, w, *settings), train),
        Graph("evaluate", (*params, x, y, w), evaluate),
        Graph("infer", (*params, x), infer),
    )


def _step(b: Backend, given: Tensors, *, model: Model) -> dict[str, Tensor]:
    params = _take(given, _ports(model, "p"))
    logits, pull = model.apply(b, given["x"], params=params)
    loss, dlogits = mean_loss(b, logits, batch=Labelled(given["y"], given["w"]))
    new_params: dict[str, Tensor] = {}
    new_state: dict[str, Tensor] = {}
    pairs = zip(model.layout.specs, params, pull(dlogits), strict=True)
    for i, (spec, before, gradient) in enumerate(pairs):
        after, velocity = before, given[f"s{i:02}"]
        if spec.trainable:
            proximal = b.mul(given["mu"], b.sub(before, given[f"a{i:02}"]))
            kept = b.mul(given["momentum"], velocity)
            velocity = b.add(kept, b.add(gradient, proximal))
            after = b.sub(before, b.mul(given["lr"], velocity))
        new_params[f"new_p{i:02}"] = after
        new_state[f"new_s{i:02}"] = velocity
    return {"loss": loss, **new_params, **new_state}


def _ports(model: Model, letter: str) -> tuple[Port, ...]:
    return tuple(
        Port(f"{letter}{i:02}", spec.shape) for i, spec in enumerate(model.layout.specs)
    )


def _take(given: Tensors, ports: tuple[Port, ...]) -> list[Tensor]:
    return [given[port.name] for port in ports]
