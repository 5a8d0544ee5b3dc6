"""Verify an artifact: gradients, agreement of the runtimes, operators, self-test.

Some questions, each with a number and a limit:

* Are the gradients right? Against finite differences, in float64, per tensor.
* Do LiteRT, ONNX Runtime, tflite-runtime 2.14 and numpy stay together when they train?
* Does the TFLite file use builtin operators only, so that every runtime can load it?
* Does the self-test in the manifest hold on every runtime?

Before all of them: is the artifact whole, and of this definition?
"""

import hashlib
import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from model_zoo.gradients import Array, slope_error
from model_zoo.model import Model
from model_zoo.runners import Runner, litert, onnx_runtime, oracle, tflite_operators
from model_zoo.stepping import Settings, evaluate, train
from model_zoo.verification import old_runtime
from model_zoo.verification.agreement import Say, agreement_checks
from model_zoo.verification.check import Check
from model_zoo.verification.learnable import learnable
from wire_protocol import selftest
from wire_protocol.errors import ConfigError, TrainingError
from wire_protocol.manifest import Manifest

IN_PROCESS: Final = ("litert", "onnxruntime")
"""Runtimes that need no environment of their own."""
STEPS: Final = 50
GRADIENT_LIMIT: Final = 1e-5
GRADIENT_BATCH: Final = 6
_DIRECTIONS: Final = 4


def verify(
    model: Model,
    folder: Path,
    *,
    runtimes: Sequence[str] = IN_PROCESS,
    needed: bool = False,
    steps: int = STEPS,
    say: Say = lambda _text: None,
) -> list[Check]:
    """Run every check on the artifact in ``folder``.

    Args:
        model: The definition.
        folder: With the manifest and its files.
        runtimes: To check on: of ``IN_PROCESS``, and ``tflite-runtime``.
        needed: A runtime that cannot be had is a failure, not just unchecked.
        steps: Of the longer run of training.
        say: Takes what is being done, for people who wait.
    """
    manifest = Manifest.from_json((folder / "manifest.json").read_bytes())
    checks = [integrity_check(model, folder, manifest=manifest)]
    say("gradients")
    checks.append(gradient_check(model))
    with ExitStack() as opened:
        runners: dict[str, Runner] = {}
        for name in runtimes:
            try:
                runners[name] = _opened(name, folder, opened, say=say)
            except ConfigError as error:
                limit = 0 if needed else 1
                checks.append(Check(name, 1, limit, str(error), checked=False))
        checks += agreement_checks(model, runners, steps=steps, say=say)
        if "litert" in runners:  # which can read the file's schema
            checks.append(operator_check(folder))
        for name, run in runners.items():
            checks.append(selftest_check(manifest, run, runtime=name))
    return checks


def _opened(name: str, folder: Path, stack: ExitStack, *, say: Say) -> Runner:
    match name:
        case "litert":
            return litert(folder)
        case "onnxruntime":
            return onnx_runtime(folder)
        case _:
            cache = old_runtime.cache_folder(os.environ)
            python = old_runtime.environment(cache, say=say)
            running = old_runtime.old_runtime(folder / "model.tflite", python=python)
            return stack.enter_context(running)


def integrity_check(model: Model, folder: Path, *, manifest: Manifest) -> Check:
    """Count files that are not the manifest's; ``ConfigError`` for another model's."""
    if manifest.layout != model.layout or manifest.batch != model.batch:
        raise ConfigError(
            f"{folder} holds {manifest.name}, not {model.name} as it is defined now",
            remedy=f"edgefed zoo build {model.name}",
        )
    wrong = [
        name
        for name, ref in manifest.files.items()
        if hashlib.sha256((folder / name).read_bytes()).hexdigest() != ref.sha256
    ]
    detail = ", ".join(wrong) or f"{len(manifest.files)} files"
    return Check("files that differ from the manifest", len(wrong), 0, detail)


def gradient_check(model: Model) -> Check:
    """Compare every tensor's gradient with finite differences of the loss."""
    # With SGD, lr 1 and neither momentum nor mu, the step is the gradient. A few
    # examples show as much as a batch.
    plain = replace(model, optimizer="sgd", batch=min(model.batch, GRADIENT_BATCH))
    run = oracle(plain, dtype=np.float64)
    settings = Settings(learning_rate=1.0).of(plain)
    batch = next(learnable(plain, seed=1))
    params = [
        tensor.astype(np.float64)
        for tensor in model.layout.split(selftest.start(model.layout))
    ]
    stepped = train(run, params, batches=[batch], settings=settings)
    rng = np.random.default_rng(0)
    worst, where = 0.0, ""
    for i, spec in enumerate(model.layout.specs):
        if not spec.trainable:
            continue

        def loss(flat: Array, i: int = i) -> float:
            moved = [*params[:i], flat.reshape(params[i].shape), *params[i + 1 :]]
            if not plain.seeded:
                return evaluate(run, moved, batch=batch)[0]
            # the loss of a step, which draws what an evaluation does not
            return train(run, moved, batches=[batch], settings=settings).losses[0]

        gradient = (params[i] - stepped.params[i]).ravel()
        error = slope_error(
            loss, gradient, at=params[i].ravel(), rng=rng, directions=_DIRECTIONS
        )
        if not error <= worst:
            worst, where = error, spec.name
    return Check("gradients against finite differences", worst, GRADIENT_LIMIT, where)


def operator_check(folder: Path) -> Check:
    """Count operators outside TFLite's builtin set: none are allowed."""
    operators = tflite_operators(folder)
    foreign = sorted(name for name in operators if "CUSTOM" in name or "Flex" in name)
    detail = ", ".join(foreign) or f"{len(operators)} kinds, all builtin"
    return Check("operators that are not builtin", len(foreign), 0, detail)


def selftest_check(manifest: Manifest, run: Runner, *, runtime: str) -> Check:
    """Run the manifest's self-test as a device would."""
    expected = manifest.selftest
    batches = list(selftest.batches(manifest))
    settings = Settings(expected.learning_rate, expected.momentum, expected.mu)
    try:
        outcome = train(
            run,
            list(manifest.layout.split(selftest.start(manifest.layout))),
            batches=batches,
            settings=settings.of(manifest),
        )
        eval_loss, _ = evaluate(run, outcome.params, batch=batches[0])
        norms = [float(np.linalg.norm(tensor)) for tensor in outcome.params]
        selftest.check(
            expected, losses=outcome.losses, norms=norms, eval_loss=eval_loss
        )
    except TrainingError as error:
        return Check(f"self-test on {runtime}", 1, 0, error.problem)
    return Check(f"self-test on {runtime}", 0, 0, f"within {expected.tolerance:g}")
