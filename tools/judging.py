"""Judges: how good parameters are on examples that no device holds, for every task.

A judge has a name and a direction, so that whoever shows or compares qualities needs to
know no task.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_agent.examples import Examples
from edge_agent.runtimes import RuntimeName
from edge_agent.trainers.trainer import Trainer
from edge_agent.training import evaluate
from model_zoo.data.dataset import Dataset
from model_zoo.data.federation import Federation
from model_zoo.metrics import METRICS, Metric, roc_auc
from model_zoo.runners import Runner, litert, onnx_runtime
from wire_protocol.errors import ConfigError
from wire_protocol.manifest import Manifest
from wire_protocol.params import Vector


@dataclass(frozen=True, slots=True)
class Judge:
    """``judge(params)``: the metric of parameters ``[size]`` on the judging examples.

    A failing runtime is a ``TrainingError``.
    """

    metric: Metric
    judge: Callable[[Vector], float]


def judge_of(
    federation: Federation,
    *,
    manifest: Manifest,
    trainer: Trainer,
    runtime: RuntimeName,
    artifact: Path,
) -> Judge:
    """Return the judge of a federation.

    Args:
        federation: Its test set judges.
        manifest: Of the model.
        trainer: An opened artifact; judging replaces its state.
        runtime: Computes anomaly scores, which a trainer does not.
        artifact: Folder of the artifact.
    """
    metric = METRICS[manifest.task]
    if manifest.task == "reconstruction":
        runner = (onnx_runtime if runtime == "onnxruntime" else litert)(artifact)

        def ranked(params: Vector) -> float:
            scores = anomaly_scores(
                runner, federation.test_x, params=params, manifest=manifest
            )
            return roc_auc(scores, positive=federation.test_y == 1)

        return Judge(metric, ranked)

    examples = Examples(federation.test_x, federation.test_y)

    def mean(params: Vector) -> float:
        verdict = evaluate(trainer, examples, params=params, batch=manifest.batch)
        return verdict.metric_sum / verdict.examples

    return Judge(metric, mean)


def check_fit(dataset: Dataset, manifest: Manifest, *, remedy: str) -> None:
    """Raise ``ConfigError`` unless the model takes the data set.

    Args:
        dataset: Its task, and the shapes of its examples and targets.
        manifest: Of the model.
        remedy: What to do otherwise.
    """
    outputs: int = manifest.outputs
    match dataset.task:
        case "classification":
            outputs = len(dataset.classes)
        case "regression" | "binary":
            outputs = dataset.y.shape[1]
        case "reconstruction":
            pass
    given = (dataset.task, dataset.example_shape, outputs)
    taken = (manifest.task, manifest.input_shape, manifest.outputs)
    if given != taken:
        raise ConfigError(
            f"wrong model for the data: {manifest.name} is for {_words(taken)}; "
            f"{dataset.name} is {_words(given)}",
            remedy=remedy,
        )


def _words(form: tuple[str, tuple[int, ...], int]) -> str:
    task, shape, outputs = form
    what = "classes" if task == "classification" else "outputs"
    return f"{task} of {list(shape)} in {outputs} {what}"


def anomaly_scores(
    runner: Runner, x: Vector, *, params: Vector, manifest: Manifest
) -> NDArray[np.float32]:
    """Return how badly each of ``x[N, ...]`` is reconstructed, ``[N]``."""
    tensors = manifest.layout.split(params)
    given = {f"p{number:02}": tensor for number, tensor in enumerate(tensors)}
    scores = np.empty(len(x), np.float32)
    batch = np.zeros((manifest.batch, *manifest.input_shape), np.float32)
    for start in range(0, len(x), manifest.batch):
        part = x[start : start + manifest.batch]
        batch[: len(part)] = part
        found = runner("infer", {**given, "x": batch})["score"]
        scores[start : start + len(part)] = found[: len(part)]
    return scores
