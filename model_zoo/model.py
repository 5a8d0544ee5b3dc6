"""A model: layers in a row, their canonical parameters, forward and backward. Pure."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from model_zoo.backend import Backend, Shape, Tensor
from model_zoo.layers import Layer, Pullback, Seed
from wire_protocol.errors import ConfigError
from wire_protocol.manifest import Optimizer, Task
from wire_protocol.params import ParamLayout, ParamSpec


@dataclass(frozen=True, slots=True)
class PlanDefaults:
    """Federated settings that were measured to suit a model."""

    rounds: int
    epochs: int
    learning_rate: float
    momentum: float


@dataclass(frozen=True, slots=True)
class Model:
    """A model's definition.

    Attributes:
        name: As users write it.
        data: Name of the data set it was made for.
        input_shape: Of one example.
        outputs: Classes, or values of a target; size of the last layer's output.
        batch: Examples in a step; fixed, with weights for the rows in use.
        layers: In order.
        plan: Recommended federated settings.
        spread: Typical size of an input value, for made-up examples.
        task: What is learned (``wire_protocol.manifest``).
        optimizer: Of the training step.
        tokens: Inputs are whole numbers below this; 0: any number.
        target_after: A reconstruction's target is what the first so many layers give.
        labels: Names of the classes, or none.
    """

    name: str
    data: str
    input_shape: Shape
    outputs: int
    batch: int
    layers: tuple[Layer, ...]
    plan: PlanDefaults
    spread: float = 1.0
    task: Task = "classification"
    optimizer: Optimizer = "sgd"
    tokens: int = 0
    target_after: int = 0
    labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        shape = self.input_shape
        for layer in self.layers:
            shape = layer.output_shape(shape)
        if self.task == "reconstruction":
            self._check_target(shape)
        elif shape != (self.outputs,):
            raise ConfigError(
                f"{self.name} ends in shape {shape}, not ({self.outputs},)",
                remedy=f"end with dense({self.outputs})",
            )

    def _check_target(self, shape: Shape) -> None:
        target = self.input_shape
        for layer in self.layers[: self.target_after]:
            target = layer.output_shape(target)
        if shape != target or math.prod(shape) != self.outputs:
            raise ConfigError(
                f"{self.name} ends in shape {shape}, to reconstruct {target} in "
                f"{self.outputs} outputs",
                remedy="end in the shape that the first target_after layers give",
            )

    @property
    def seeded(self) -> bool:
        """Whether the training step draws something."""
        return any(layer.seeded for layer in self.layers)

    @property
    def layout(self) -> ParamLayout:
        """All parameters in layer order, named like ``01.conv1d.kernel``."""
        return ParamLayout(
            tuple(
                replace(spec, name=f"{number:02}.{layer.kind}.{spec.name}")
                for number, (layer, specs) in enumerate(self._with_specs())
                for spec in specs
            )
        )

    def apply(
        self, b: Backend, x: Tensor, *, params: Sequence[Tensor], seed: Seed = None
    ) -> tuple[Tensor, Callable[[Tensor], list[Tensor]]]:
        """Run forward; the pullback gives the gradients in layout order.

        Args:
            b: What computes or emits.
            x: Examples, ``[batch, *input_shape]``.
            params: Tensors in layout order.
            seed: Of a training step, for layers that draw something.
        """
        left = list(params)
        pullbacks: list[Pullback] = []
        for layer, specs in self._with_specs():
            mine, left = tuple(left[: len(specs)]), left[len(specs) :]
            x, pullback = layer.apply(b, x, params=mine, seed=seed)
            pullbacks.append(pullback)

        def pull(dy: Tensor) -> list[Tensor]:
            grads: list[Tensor] = []
            for pullback in reversed(pullbacks):
                dy, of_layer = pullback(dy)
                grads[:0] = of_layer
            return grads

        return x, pull

    def target(self, b: Backend, x: Tensor, *, params: Sequence[Tensor]) -> Tensor:
        """Return what a reconstruction of ``x`` should be."""
        left = list(params)
        for layer, specs in self._with_specs()[: self.target_after]:
            mine, left = tuple(left[: len(specs)]), left[len(specs) :]
            x, _ = layer.apply(b, x, params=mine, seed=None)
        return x

    def _with_specs(self) -> list[tuple[Layer, tuple[ParamSpec, ...]]]:
        pairs, shape = [], self.input_shape
        for layer in self.layers:
            pairs.append((layer, layer.specs(shape)))
            shape = layer.output_shape(shape)
        return pairs
