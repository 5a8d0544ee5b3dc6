"""Parameter layout: named tensors in one canonical order, and one float32 vector.

Both artifacts of a model (TFLite and ONNX) share one layout, which is what lets
devices with different runtimes serve in the same round. This module is pure.

>>> layout = ParamLayout((ParamSpec("w", (2, 3), "uniform", 0.5), ParamSpec("b", (3,))))
>>> layout.size
9
>>> [tensor.shape for tensor in layout.split(np.zeros(9, np.float32))]
[(2, 3), (3,)]
"""

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from wire_protocol.errors import DecodeError, Reason

Vector = NDArray[np.float32]
"""All parameters of a model, or a delta of them: float32, one dimension."""

INITS: Final = ("zeros", "ones", "uniform", "feature_mean", "feature_scale")
"""The last two start as 0 and 1, until the fleet's statistics are known."""
MAX_PARAMS: Final = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class ParamSpec:
    """One tensor: its name, shape (``[in, out]``, HWIO), and how it starts.

    ``scale`` is the half-width of a ``uniform`` start. A parameter that is not
    ``trainable`` keeps its value through every step. A ``personal`` one is trained on
    the device and never leaves it.
    """

    name: str
    shape: tuple[int, ...]
    init: str = "zeros"
    scale: float = 0.0
    trainable: bool = True
    personal: bool = False

    def __post_init__(self) -> None:
        if not self.name or len(self.name) > 120:
            raise DecodeError(
                f"a parameter name has 1 to 120 characters: {self.name!r}"
            )
        if len(self.shape) > 4 or any(
            not 0 < side <= MAX_PARAMS for side in self.shape
        ):
            raise DecodeError(f"{self.name}: {self.shape} is no shape")
        if self.init not in INITS or not 0.0 <= self.scale < 1e6:
            raise DecodeError(f"{self.name}: {self.init}({self.scale}) is no start")
        if self.init.startswith("feature_") and self.federated:
            raise DecodeError(f"{self.name}: statistics of features are not trained")

    @property
    def federated(self) -> bool:
        """Whether devices learn it together: it is trained, and leaves the device."""
        return self.trainable and not self.personal

    @property
    def size(self) -> int:
        """Number of values."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class ParamLayout:
    """The canonical ordered list of a model's parameters."""

    specs: tuple[ParamSpec, ...]

    def __post_init__(self) -> None:
        if sum(spec.init == "feature_mean" for spec in self.specs) > 1:
            raise DecodeError("a model takes statistics of its input once")
        if not self.specs or len(self.specs) > 1000:
            raise DecodeError(f"a layout has 1 to 1000 tensors, not {len(self.specs)}")
        if len({spec.name for spec in self.specs}) != len(self.specs):
            raise DecodeError("a layout names every tensor once")
        if self.size > MAX_PARAMS:
            raise DecodeError(
                f"{self.size} parameters are more than {MAX_PARAMS}",
                reason=Reason.TOO_LARGE,
            )

    @property
    def size(self) -> int:
        """Number of values in all tensors together."""
        return sum(spec.size for spec in self.specs)

    @property
    def digest(self) -> str:
        """First 16 hex digits of the SHA-256 of names, shapes and roles, in order."""
        names = [
            [spec.name, list(spec.shape)] + ([] if spec.federated else ["kept"])
            for spec in self.specs
        ]
        text = json.dumps(names, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def federated(self) -> "ParamLayout":
        """The tensors that travel: trained, and not personal.

        Raises:
            DecodeError: There is none.
        """
        return ParamLayout(tuple(spec for spec in self.specs if spec.federated))

    def gather(self, vector: Vector) -> Vector:
        """Return the federated part of ``vector``; itself where that is all of it."""
        if all(spec.federated for spec in self.specs):
            return vector
        return vector[self._where([spec.federated for spec in self.specs])]

    def scatter(self, vector: Vector, part: Vector) -> Vector:
        """Return ``vector`` with ``part`` in place of its federated part, fresh."""
        return self._put(vector, part, [spec.federated for spec in self.specs])

    def spread(self, part: Vector) -> Vector:
        """Return a step that is ``part`` where it is federated, and 0 elsewhere.

        It is ``part`` itself where that is all of it.
        """
        if part.size == self.size:
            return part
        return self.scatter(np.zeros(self.size, np.float32), part)

    def gather_personal(self, vector: Vector) -> Vector:
        """Return the part of ``vector`` that stays on a device; it may be empty."""
        return vector[self._where([spec.personal for spec in self.specs])]

    def scatter_personal(self, vector: Vector, part: Vector) -> Vector:
        """Return ``vector`` with ``part`` in place of its personal part, fresh."""
        return self._put(vector, part, [spec.personal for spec in self.specs])

    def _put(self, vector: Vector, part: Vector, chosen: list[bool]) -> Vector:
        where = self._where(chosen)
        if part.shape != (int(where.sum()),):
            raise DecodeError(
                f"this part has {int(where.sum())} values, not {part.shape}",
                reason=Reason.WRONG_SCHEMA,
            )
        changed = vector.copy()
        changed[where] = part
        return changed

    def _where(self, chosen: list[bool]) -> NDArray[np.bool_]:
        sizes = [spec.size for spec in self.specs]
        return np.repeat(np.array(chosen, np.bool_), sizes)

    def split(self, vector: Vector) -> list[Vector]:
        """Return views of ``vector``, shape ``[size]``, one for each tensor."""
        if vector.shape != (self.size,):
            raise DecodeError(
                f"the layout has {self.size} values, not {vector.shape}",
                reason=Reason.WRONG_SCHEMA,
            )
        tensors, start = [], 0
        for spec in self.specs:
            tensors.append(vector[start : start + spec.size].reshape(spec.shape))
            start += spec.size
        return tensors

    def join(self, tensors: Sequence[Vector]) -> Vector:
        """Return the inverse of ``split``: a fresh vector, shape ``[size]``."""
        return np.concatenate(
            [np.asarray(tensor, np.float32).reshape(-1) for tensor in tensors]
        )

    def initial(self, rng: "np.random.Generator") -> Vector:
        """Draw starting values, tensor by tensor, from ``rng``."""
        tensors: list[Vector] = []
        for spec in self.specs:
            match spec.init:
                case "ones" | "feature_scale":
                    tensors.append(np.ones(spec.shape, np.float32))
                case "uniform":
                    drawn = rng.uniform(-spec.scale, spec.scale, spec.shape)
                    tensors.append(drawn.astype(np.float32))
                case _:
                    tensors.append(np.zeros(spec.shape, np.float32))
        return self.join(tensors)


def params_digest(vector: Vector) -> str:
    """SHA-256, in hex, of the little-endian float32 bytes of ``vector``."""
    return hashlib.sha256(np.ascontiguousarray(vector, "<f4").tobytes()).hexdigest()
