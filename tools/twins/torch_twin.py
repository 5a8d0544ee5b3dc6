"""The torch twin: the same layers as ``torch.nn`` has them, in torch's own layout.

Run inside ``.venv-peer``. Images are NCHW, as torch users keep them; examples are laid
out before the clock runs, and only ``reshape`` and ``flatten`` go by the zoo's order.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from model_zoo.dropout import WORDS
from model_zoo.model import Model
from tools.twins.plan import KINDS, Part, parts
from wire_protocol.params import Vector
from wire_protocol.selftest import Batch

Make = Callable[[Part], nn.Module]


class Step:
    """A training step of the twin, as torch users write it."""

    def __init__(self, model: Model, params: Vector) -> None:
        torch.set_num_threads(1)
        torch.set_num_interop_threads(1)
        plan = list(parts(model, params))
        self._model = model
        self._layers = nn.Sequential(*(module(part) for part in plan))
        self._target = self._layers[: model.target_after]
        _load(plan, self._layers)
        trained = [p for p in self._layers.parameters() if p.requires_grad]
        self.parameters = sum(p.numel() for p in self._layers.parameters())
        rate, momentum = model.plan.learning_rate, model.plan.momentum
        self._optimizer = (
            torch.optim.Adam(trained, rate, (momentum, 0.999), eps=1e-7)
            if model.optimizer == "adam"
            else torch.optim.SGD(trained, rate, momentum)
        )

    def laid_out(self, batch: Batch) -> Any:  # noqa: ANN401 - torch's own
        """Return a batch as the step takes it."""
        x = torch.from_numpy(batch.x)
        if x.ndim > 2:
            x = x.movedim(-1, 1).contiguous()
        return x, torch.from_numpy(batch.y).to(
            torch.long if self._model.task == "classification" else torch.float32
        )

    def loss(self, laid: Any) -> float:  # noqa: ANN401
        """Return the mean loss of a batch, nothing dropped out."""
        self._layers.eval()
        with torch.no_grad():
            loss = float(self._loss(*laid))
        self._layers.train()
        return loss

    def __call__(self, laid: Any) -> float:  # noqa: ANN401
        """Take a step; return the loss before it."""
        self._optimizer.zero_grad()
        loss = self._loss(*laid)
        loss.backward()
        self._optimizer.step()
        return float(loss.detach())

    def _loss(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        outputs = self._layers(x)
        match self._model.task:
            case "classification":
                return functional.cross_entropy(outputs, y)
            case "binary":
                return functional.binary_cross_entropy_with_logits(outputs, y)
            case "regression" if self._model.softness:
                softness = self._model.softness
                return (((outputs - y) ** 2 + softness**2).sqrt() - softness).mean()
            case "regression":
                return functional.mse_loss(outputs, y)
            case "reconstruction":
                return functional.mse_loss(outputs, self._target(x))


class Padded(nn.Module):  # type: ignore[misc]
    """Zeros put around an image unevenly, then the layer."""

    def __init__(self, layer: nn.Module, widths: list[int]) -> None:
        super().__init__()
        self.layer = layer
        self.widths = widths

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Pad and run."""
        return self.layer(functional.pad(x, self.widths))


class Along(nn.Module):  # type: ignore[misc]
    """Factors and shifts along the channels."""

    def __init__(self, factor: Any, shift: Any = 0.0, *, rank: int) -> None:  # noqa: ANN401
        super().__init__()
        shape = (1, -1, *(1 for _ in range(rank - 1)))
        self.register_buffer("factor", _float(factor).reshape(shape))
        self.register_buffer("shift", _float(shift).reshape(shape))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Shift and multiply."""
        return (x - self.shift) * self.factor


class Standardize(nn.Module):  # type: ignore[misc]
    """``(x - mean) * scale`` with frozen parameters."""

    def __init__(self, channels: int, *, rank: int) -> None:
        super().__init__()
        shape = (channels, *(1 for _ in range(rank - 1)))
        self.mean = nn.Parameter(torch.zeros(shape), requires_grad=False)
        self.scale = nn.Parameter(torch.ones(shape), requires_grad=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Standardise."""
        return (x - self.mean) * self.scale


class Reshaped(nn.Module):  # type: ignore[misc]
    """Another shape, in the order that the zoo has: channels last."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Reshape."""
        if x.ndim > 2:
            x = x.movedim(1, -1)
        x = x.reshape(len(x), *self.shape)
        return x.movedim(-1, 1).contiguous() if x.ndim > 2 else x


class Embedded(nn.Module):  # type: ignore[misc]
    """Vectors of tokens, channels first."""

    def __init__(self, tokens: int, width: int) -> None:
        super().__init__()
        self.layer = nn.Embedding(tokens, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Look up."""
        return self.layer(x.long()).transpose(1, 2)


class Mean(nn.Module):  # type: ignore[misc]
    """The mean over all places."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Average."""
        return x.flatten(2).mean(2)


class Recurrent(nn.Module):  # type: ignore[misc]
    """A GRU over ``[N, C, L]``: its last state, or all of them."""

    def __init__(self, inputs: int, units: int, *, sequences: bool) -> None:
        super().__init__()
        self.layer = nn.GRU(inputs, units, batch_first=True)
        self.sequences = sequences

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run over the sequence."""
        states, _ = self.layer(x.transpose(1, 2))
        return states.transpose(1, 2) if self.sequences else states[:, -1]


def _float(value: Any) -> torch.Tensor:  # noqa: ANN401
    return torch.as_tensor(np.asarray(value, np.float32))


def _conv(part: Part) -> nn.Module:
    kernel = part.tensors[0].shape
    shapes = {2: nn.Conv1d, 3: nn.Conv2d}
    return _fitting(part, shapes[len(part.before)], kernel[-2:], kernel[:-2])


def _depthwise(part: Part) -> nn.Module:
    *size, channels = part.tensors[0].shape
    return _fitting(part, nn.Conv2d, (channels, channels), tuple(size), groups=channels)


def _fitting(
    part: Part,
    kind: Any,  # noqa: ANN401
    channels: tuple[int, ...],
    size: tuple[int, ...],
    **more: int,
) -> nn.Module:
    """Pad inside the layer where both sides are alike, before it where they are not."""
    stride, widths = part.settings["stride"], part.padding
    if all(before == after for before, after in widths):
        padding = tuple(before for before, _ in widths)
        return kind(*channels, size, stride=stride, padding=padding, **more)
    flat = [width for pair in reversed(widths) for width in pair]
    return Padded(kind(*channels, size, stride=stride, **more), flat)


def _pool(part: Part, flat: Any, deep: Any) -> nn.Module:  # noqa: ANN401
    size = part.settings["size"]
    return (flat if len(part.before) == 2 else deep)(size)


MODULES: Final[Mapping[str, Make]] = {
    "dense": lambda part: nn.Linear(*part.tensors[0].shape),
    "relu": lambda _: nn.ReLU(),
    "relu6": lambda _: nn.ReLU6(),
    "tanh": lambda _: nn.Tanh(),
    "sigmoid": lambda _: nn.Sigmoid(),
    "scale": lambda part: Along(part.settings["factors"], rank=len(part.before)),
    "standardize": lambda part: Standardize(part.before[-1], rank=len(part.before)),
    "flatten": lambda part: Reshaped(part.after),
    "reshape": lambda part: Reshaped(part.after),
    "dropout": lambda part: nn.Dropout(part.settings["dropped"] / WORDS),
    "embedding": lambda part: Embedded(*part.tensors[0].shape),
    "conv1d": _conv,
    "conv2d": _conv,
    "depthwise_conv2d": _depthwise,
    "group_norm": lambda part: nn.GroupNorm(part.settings["groups"], part.before[-1]),
    "max_pool": lambda part: _pool(part, nn.MaxPool1d, nn.MaxPool2d),
    "average_pool": lambda part: _pool(part, nn.AvgPool1d, nn.AvgPool2d),
    "global_average_pool": lambda _: Mean(),
    "gru": lambda part: Recurrent(
        part.before[-1],
        part.settings["units"],
        sequences=part.settings["sequences"],
    ),
}
assert set(MODULES) == KINDS


def module(part: Part) -> nn.Module:
    """Return the layer's twin, its parameters not loaded yet."""
    return MODULES[part.kind](part)


def _load(plan: list[Part], layers: nn.Sequential) -> None:
    for part, layer in zip(plan, layers, strict=True):
        targets = list(layer.parameters())
        for target, tensor in zip(targets, _theirs(part), strict=True):
            target.data.copy_(torch.from_numpy(tensor.copy()).reshape(target.shape))
            target.requires_grad_(part.trainable)


def _theirs(part: Part) -> list[NDArray[np.float32]]:
    tensors = list(part.tensors)
    match part.kind:
        case "dense":
            return [tensors[0].T, tensors[1]]
        case "conv1d":
            return [tensors[0].transpose(2, 1, 0), tensors[1]]
        case "conv2d":
            return [tensors[0].transpose(3, 2, 0, 1), tensors[1]]
        case "depthwise_conv2d":
            return [tensors[0].transpose(2, 0, 1), tensors[1]]
        case "gru":
            kernel, recurrent, bias = (_reset_first(tensor) for tensor in tensors)
            return [kernel.T, recurrent.T, bias[0], bias[1]]
        case _:
            return tensors


def _reset_first(tensor: Vector) -> Vector:
    """Put gates ``update, reset, candidate`` into torch's order."""
    update, reset, candidate = np.split(tensor, 3, axis=-1)
    return np.concatenate([reset, update, candidate], axis=-1)
