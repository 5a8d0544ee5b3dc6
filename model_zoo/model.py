"""A model: layers in a row, their canonical parameters, forward and backward. Pure."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from model_zoo.backend import Backend, Shape, Tensor
from model_zoo.layers import Draw, Layer
from model_zoo.loss import Head, head_of
from model_zoo.sequence import apply_all, shape_after, specs_of
from wire_protocol.errors import ConfigError
from wire_protocol.manifest import Optimizer, Task
from wire_protocol.params import ParamLayout


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
        softness: Of a regression's loss, see ``head_of``; 0: squared errors.
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
    softness: float = 0.0

    def __post_init__(self) -> None:
        if self.softness and (self.task != "regression" or not self.softness > 0):
            raise ConfigError(
                f"{self.name}: a softness of {self.softness:g} is not for {self.task}",
                remedy="leave it 0; a regression's may be above 0",
            )
        shape = shape_after(self.layers, self.input_shape)
        if self.task == "reconstruction":
            self._check_target(shape)
        elif shape != (self.outputs,):
            raise ConfigError(
                f"{self.name} ends in shape {shape}, not ({self.outputs},)",
                remedy=f"end with dense({self.outputs})",
            )

    def _check_target(self, shape: Shape) -> None:
        target = shape_after(self.layers[: self.target_after], self.input_shape)
        if shape != target or math.prod(shape) != self.outputs:
            raise ConfigError(
                f"{self.name} ends in shape {shape}, to reconstruct {target} in "
                f"{self.outputs} outputs",
                remedy="end in the shape that the first target_after layers give",
            )

    @property
    def head(self) -> Head:
        """Loss and metric."""
        return head_of(self.task, softness=self.softness)

    @property
    def seeded(self) -> bool:
        """Whether the training step draws something."""
        return any(layer.seeded for layer in self.layers)

    @property
    def layout(self) -> ParamLayout:
        """All parameters in layer order, named like ``01.conv1d.kernel``."""
        by_layer = specs_of(self.layers, self.input_shape, digits=2)
        return ParamLayout(tuple(spec for specs in by_layer for spec in specs))

    def apply(
        self,
        b: Backend,
        x: Tensor,
        *,
        params: Sequence[Tensor],
        seed: Tensor | None = None,
    ) -> tuple[Tensor, Callable[[Tensor], tuple[Tensor, ...]]]:
        """Run forward; the pullback gives the gradients in layout order.

        Args:
            b: What computes or emits.
            x: Examples, ``[batch, *input_shape]``.
            params: Tensors in layout order.
            seed: Of a training step, an int32 scalar, for layers that draw something.
        """
        draw = None if seed is None else Draw(seed)
        y, pullback = apply_all(b, x, layers=self.layers, params=params, seed=draw)
        return y, lambda dy: pullback(dy)[1]

    def target(self, b: Backend, x: Tensor, *, params: Sequence[Tensor]) -> Tensor:
        """Return what a reconstruction of ``x`` should be."""
        first = self.layers[: self.target_after]
        y, _ = apply_all(b, x, layers=first, params=params, seed=None)
        return y
