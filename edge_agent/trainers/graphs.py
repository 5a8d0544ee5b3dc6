"""What a runtime gives: an artifact's two graphs, as functions of named tensors."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from wire_protocol.params import Vector

Graph: TypeAlias = Callable[[dict[str, Any]], Mapping[str, Vector]]
"""Takes the inputs, gives the outputs; a failing runtime is a ``TrainingError``."""


@dataclass(frozen=True, slots=True)
class Graphs:
    """An opened artifact; the runtime's memory is given back with the functions."""

    train: Graph
    evaluate: Graph
