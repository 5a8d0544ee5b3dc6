"""A model so small that a hundred federations of it take seconds: softmax regression.

Its trainer is numpy, so that no runtime is loaded; everything around it is real.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from edge_agent.artifacts import Artifact, remember_passed
from edge_agent.state_files import StateFiles
from edge_agent.trainers.graphs import Graphs
from edge_agent.trainers.tensors import Tensors
from edge_agent.trainers.trainer import Trainer
from tests.edge_agent.agents import finding
from wire_protocol.manifest import FileRef, Manifest, SelfTest
from wire_protocol.params import ParamLayout, ParamSpec, Vector
from wire_protocol.transfer import blob_ref

FEATURES: Final = 4
CLASSES: Final = 3
LAYOUT: Final = ParamLayout(
    (ParamSpec("w", (FEATURES, CLASSES), "uniform", 0.5), ParamSpec("b", (CLASSES,)))
)


def write_tiny_artifact(folder: Path) -> Path:
    """Write the artifact; nobody looks into its one file."""
    folder.mkdir(parents=True, exist_ok=True)
    model = b"softmax regression"
    manifest = Manifest(
        name="tiny",
        task="classification",
        input_shape=(FEATURES,),
        outputs=CLASSES,
        batch=8,
        layout=LAYOUT,
        files={"model.tflite": FileRef(len(model), hashlib.sha256(model).hexdigest())},
        selftest=SelfTest((1.0,), (1.0, 1.0), 1.0, 0.1, 0.9, 0.0, 1e-3),
    )
    (folder / "model.tflite").write_bytes(model)
    (folder / "manifest.json").write_bytes(manifest.to_json())
    return folder


def pass_self_test(state_dir: Path, artifact: Path) -> None:
    """Let an agent with this state folder know that its runtime computes rightly."""
    raw = (artifact / "manifest.json").read_bytes()
    ref = blob_ref(raw)
    kept = Artifact(
        ref.sha256, state_dir / "artifacts" / ref.sha256, Manifest.from_json(raw)
    )
    remember_passed(kept, finding().label, files=StateFiles(state_dir))


def write_tiny_examples(path: Path, *, seed: int, count: int = 40) -> None:
    """Write separable examples that differ by ``seed``, unequal in number."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, CLASSES, count + 8 * seed).astype(np.int32)
    x = np.eye(CLASSES, FEATURES)[y] + rng.normal(0, 0.3, (len(y), FEATURES))
    np.savez(path, x=x.astype(np.float32), y=y)


def open_tiny_trainer(*_: object, **__: object) -> Trainer:
    """Return a trainer, whatever the runtime is called."""
    return Trainer(Graphs(_train, _evaluate), Tensors(LAYOUT))


def _train(inputs: dict[str, Any]) -> Mapping[str, Vector]:
    x, w = inputs["x"], inputs["w"]
    loss, _, error = _forward(inputs)
    error = error * (w / max(float(w.sum()), 1.0))[:, None]
    gradients = {"00": x.T @ error, "01": error.sum(axis=0)}
    outputs: dict[str, Vector] = {"loss": np.float32(loss / max(float(w.sum()), 1.0))}  # type: ignore[dict-item]
    for name, gradient in gradients.items():
        velocity = inputs["momentum"] * inputs[f"s{name}"] + gradient
        outputs[f"new_s{name}"] = velocity.astype(np.float32)
        step = inputs["lr"] * velocity
        outputs[f"new_p{name}"] = (inputs[f"p{name}"] - step).astype(np.float32)
    return outputs


def _evaluate(inputs: dict[str, Any]) -> Mapping[str, Vector]:
    loss, correct, _ = _forward(inputs)
    return {"loss_sum": np.float32(loss), "metric_sum": np.float32(correct)}  # type: ignore[dict-item]


def _forward(inputs: dict[str, Any]) -> tuple[float, float, Vector]:
    """Return the weighted loss, the weighted right answers, and the error."""
    x, y, w = inputs["x"], inputs["y"], inputs["w"]
    logits = x @ inputs["p00"] + inputs["p01"]
    logits = logits - logits.max(axis=1, keepdims=True)
    chances = np.exp(logits)
    chances /= chances.sum(axis=1, keepdims=True)
    truth = np.eye(CLASSES, dtype=np.float32)[y]
    losses = -np.log(np.maximum((chances * truth).sum(axis=1), 1e-12))
    right = (chances.argmax(axis=1) == y).astype(np.float32)
    return float((losses * w).sum()), float((right * w).sum()), chances - truth
