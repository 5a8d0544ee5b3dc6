"""What a quantized artifact loses: its outputs beside the float artifact's. Pure.

>>> float_ = np.array([[2.0, 1.0], [0.0, 3.0]], np.float32)
>>> coarse = np.array([[2.0, 1.1], [0.1, 2.9]], np.float32)
>>> found = compare(
...     "classification", Answers(float_), Answers(coarse), y=np.array([0, 0])
... )
>>> found.metric, found.value, found.reference, found.agreement
('accuracy', 0.5, 0.5, 1.0)
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_zoo.metrics import METRICS, roc_auc
from wire_protocol.manifest import Task


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """What an artifact says of ``N`` examples.

    Attributes:
        outputs: ``[N, ...]``.
        score: Anomaly scores ``[N]`` of a reconstruction.
    """

    outputs: NDArray[np.float32]
    score: NDArray[np.float32] | None = None


@dataclass(frozen=True, slots=True)
class Judgement:
    """One artifact beside the float artifact of its family, on judging examples.

    Attributes:
        metric: What ``value`` is, see ``model_zoo.metrics``.
        value: Of this artifact; None where one kind of answer is missing.
        reference: Of the float artifact.
        loss: How much worse than the reference it is; below 0: better.
        agreement: Share of examples both say the same of; None without classes.
        max_error: Greatest difference of any output.
    """

    metric: str
    value: float | None
    reference: float | None
    loss: float | None
    agreement: float | None
    max_error: float


def compare(
    task: Task, reference: Answers, found: Answers, *, y: NDArray[Any]
) -> Judgement:
    """Judge ``found`` by the targets ``y``, and beside ``reference``."""
    before, after = _metric(task, reference, y), _metric(task, found, y)
    loss = None
    if before is not None and after is not None:
        higher = METRICS[task].better == "higher"
        loss = before - after if higher else after - before
    return Judgement(
        metric=METRICS[task].name,
        value=after,
        reference=before,
        loss=loss,
        agreement=_agreement(task, reference.outputs, found.outputs),
        max_error=float(np.max(np.abs(reference.outputs - found.outputs))),
    )


def _metric(task: Task, answers: Answers, y: NDArray[Any]) -> float | None:
    outputs = answers.outputs
    match task:
        case "classification":
            return float(np.mean(np.argmax(outputs, 1) == y))
        case "binary":
            return float(np.mean((outputs > 0) == (y > 0.5)))
        case "regression":
            return float(np.mean(np.abs(outputs - y)))
        case "reconstruction":
            assert answers.score is not None
            kinds = len(np.unique(y))
            return roc_auc(answers.score, positive=y == 1) if kinds > 1 else None


def _agreement(
    task: Task, one: NDArray[np.float32], other: NDArray[np.float32]
) -> float | None:
    match task:
        case "classification":
            return float(np.mean(np.argmax(one, 1) == np.argmax(other, 1)))
        case "binary":
            return float(np.mean((one > 0) == (other > 0)))
        case _:
            return None
