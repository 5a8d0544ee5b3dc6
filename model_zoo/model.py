"""A model: layers in a row, their canonical parameters, forward and backward. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from model_zoo.backend import Backend, Shape, Tensor
from model_zoo.layers import Layer, Pullback
from wire_protocol.errors import ConfigError
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
    """A classifier's definition.

    Attributes:
        name: As users write it.
        data: Name of the data set it was made for.
        input_shape: Of one example.
        classes: Number of them, the size of the last layer's output.
        batch: Examples in a step; fixed, with weights for the rows in use.
        layers: In order.
        plan: Recommended federated settings.
        spread: Typical size of an input value, for made-up examples.
    """

    name: str
    data: str
    input_shape: Shape
    classes: int
    batch: int
    layers: tuple[Layer, ...]
    plan: PlanDefaults
    spread: float = 1.0

    def __post_init__(self) -> None:
        shape = self.input_shape
        for layer in self.layers:
            shape = layer.output_shape(shape)
        if shape != (self.classes,):
            raise ConfigError(
                f"{self.name} ends in shape {shape}, not ({self.classes},)",
                remedy=f"end with dense({self.classes})",
            )

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
        self, b: Backend, x: Tensor, *, params: Sequence[Tensor]
    ) -> tuple[Tensor, Callable[[Tensor], list[Tensor]]]:
        """Run forward; the pullback gives the gradients in layout order.

        Args:
            b: What computes or emits.
            x: Examples, ``[batch, *input_shape]``.
            params: Tensors in layout order.
        """
        left = list(params)
        pullbacks: list[Pullback] = []
        for layer, specs in self._with_specs():
            mine, left = tuple(left[: len(specs)]), left[len(specs) :]
            x, pullback = layer.apply(b, x, params=mine)
            pullbacks.append(pullback)

        def pull(dy: Tensor) -> list[Tensor]:
            grads: list[Tensor] = []
            for pullback in reversed(pullbacks):
                dy, of_layer = pullback(dy)
                grads[:0] = of_layer
            return grads

        return x, pull

    def _with_specs(self) -> list[tuple[Layer, tuple[ParamSpec, ...]]]:
        pairs, shape = [], self.input_shape
        for layer in self.layers:
            pairs.append((layer, layer.specs(shape)))
            shape = layer.output_shape(shape)
        return pairs
