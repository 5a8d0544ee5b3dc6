"""The graph of inference: one example in, parameters inside. Pure."""

from collections.abc import Mapping
from dataclasses import replace

from model_zoo.backend import Backend, Tensor
from model_zoo.graphs import Graph, graphs
from model_zoo.model import Model
from wire_protocol.params import Vector


def inference(model: Model, params: Vector) -> Graph:
    """Return ``infer`` for one example, its only input ``x[1, ...]``.

    Args:
        model: The definition.
        params: Trained, shape ``[size]``; they become constants.
    """
    graph = next(g for g in graphs(replace(model, batch=1)) if g.name == "infer")
    tensors = model.layout.split(params)

    def run(b: Backend, given: Mapping[str, Tensor]) -> dict[str, Tensor]:
        constants = {f"p{i:02}": b.constant(one) for i, one in enumerate(tensors)}
        return graph.run(b, {**constants, **given})

    inputs = tuple(port for port in graph.inputs if port.name == "x")
    return Graph(graph.name, inputs, run)
