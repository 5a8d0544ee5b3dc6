"""Verify an artifact: gradients, agreement of the runtimes, operators, self-test.

Some questions, each with a number and a limit:

* Are the gradients right? Against finite differences, in float64, per tensor.
* Do LiteRT, ONNX Runtime and numpy stay together over many steps of training?
* Does the TFLite file use builtin operators only, so that every runtime can load it?
* Does the self-test in the manifest hold on both runtimes?

Before all of them: is the artifact whole, and of this definition?
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import combinations, islice
from pathlib import Path
from typing import Final

import numpy as np

from model_zoo.gradients import Array, slope_error
from model_zoo.model import Model
from model_zoo.runners import Runner, litert, onnx_runtime, oracle, tflite_operators
from model_zoo.stepping import Outcome, Settings, evaluate, train
from wire_protocol import selftest
from wire_protocol.errors import ConfigError, TrainingError
from wire_protocol.manifest import Manifest
from wire_protocol.selftest import Batch, Targets

STEPS: Final = 300
GRADIENT_LIMIT: Final = 1e-5
GRADIENT_BATCH: Final = 6
AGREEMENT_LIMIT: Final = 1e-4
"""Greatest difference of any parameter between any two runtimes after the steps."""

_SETTINGS: Final = Settings(learning_rate=0.001, momentum=0.5, mu=0.01)
"""Slow enough that rounding stays rounding. An activation within rounding of a relu's
kink falls on either side; at the plan's rates that one gradient moves parameters by
1e-4, on a perturbed start just as between runtimes, and would hide a real fault.
"""


@dataclass(frozen=True, slots=True)
class Check:
    """One finding: it passes when ``value`` is at most ``limit``."""

    what: str
    value: float
    limit: float
    detail: str = ""

    @property
    def passed(self) -> bool:
        """Whether the finding is within its limit; NaN is not."""
        return self.value <= self.limit


def verify(model: Model, folder: Path, *, steps: int = STEPS) -> list[Check]:
    """Run every check on the artifact in ``folder``."""
    manifest = Manifest.from_json((folder / "manifest.json").read_bytes())
    integrity = integrity_check(model, folder, manifest=manifest)
    runtimes = {"litert": litert(folder), "onnxruntime": onnx_runtime(folder)}
    return [
        integrity,
        gradient_check(model),
        *agreement_checks(
            model,
            {**runtimes, "numpy": oracle(model, dtype=np.float32)},
            steps=steps,
        ),
        operator_check(folder),
        *(
            selftest_check(manifest, run, runtime=name)
            for name, run in runtimes.items()
        ),
    ]


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
    # A wrong gradient is wrong along every direction; a deep model has many tensors.
    directions = max(2, min(8, 96 // len(model.layout.specs)))
    worst, where = 0.0, ""
    for i, spec in enumerate(model.layout.specs):
        if not spec.trainable:
            continue

        def loss(flat: Array, i: int = i) -> float:
            moved = [*params[:i], flat.reshape(params[i].shape), *params[i + 1 :]]
            # the loss of a step, and not of an evaluation: it may draw something
            return train(run, moved, batches=[batch], settings=settings).losses[0]

        gradient = (params[i] - stepped.params[i]).ravel()
        error = slope_error(
            loss, gradient, at=params[i].ravel(), rng=rng, directions=directions
        )
        if not error <= worst:
            worst, where = error, spec.name
    return Check("gradients against finite differences", worst, GRADIENT_LIMIT, where)


def agreement_checks(
    model: Model, runtimes: Mapping[str, Runner], *, steps: int
) -> list[Check]:
    """Train alike on every runtime and compare the parameters, pair by pair."""
    outcomes = {
        name: _trained(model, run, steps=steps) for name, run in runtimes.items()
    }
    checks = []
    for (one, mine), (other, theirs) in combinations(outcomes.items(), 2):
        worst = max(
            float(np.max(np.abs(a - b)))
            for a, b in zip(mine.params, theirs.params, strict=True)
        )
        first, last = mine.losses[0], mine.losses[-1]
        detail = f"loss {first:.3f} to {last:.3f}"
        what = f"{one} and {other} after {steps} steps"
        checks.append(Check(what, worst, AGREEMENT_LIMIT, detail))
    return checks


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
    outcome = train(
        run,
        list(manifest.layout.split(selftest.start(manifest.layout))),
        batches=batches,
        settings=Settings(expected.learning_rate, expected.momentum, expected.mu).of(
            manifest
        ),
    )
    eval_loss, _ = evaluate(run, outcome.params, batch=batches[0])
    norms = [float(np.linalg.norm(tensor)) for tensor in outcome.params]
    try:
        selftest.check(
            expected, losses=outcome.losses, norms=norms, eval_loss=eval_loss
        )
    except TrainingError as error:
        return Check(f"self-test on {runtime}", 1, 0, error.problem)
    return Check(f"self-test on {runtime}", 0, 0, f"within {expected.tolerance:g}")


def learnable(model: Model, *, seed: int) -> Iterator[Batch]:
    """Yield endless batches: a noisy pattern for each class, two padding rows each.

    Where there are no classes, ten patterns stand for a target each.
    """
    rng = np.random.default_rng(seed)
    kinds = model.outputs if model.task == "classification" else 10
    patterns = rng.standard_normal((kinds, *model.input_shape))
    targets = rng.uniform(0, 1, (kinds, model.outputs)).astype(np.float32)
    w = np.ones(model.batch, np.float32)
    w[-2:] = 0
    while True:
        kind = rng.integers(0, kinds, model.batch).astype(np.int32)
        noise = rng.standard_normal((model.batch, *model.input_shape))
        x = model.spread * (patterns[kind] + noise)
        if model.tokens:
            x = np.floor(x * model.tokens / 4) % model.tokens
        match model.task:
            case "classification":
                y: Targets = kind
            case "reconstruction":
                y = np.zeros((model.batch, 0), np.float32)
            case "binary":
                y = np.round(targets[kind])
            case _:
                y = targets[kind]
        yield Batch(x.astype(np.float32), y, w)


def _trained(model: Model, run: Runner, *, steps: int) -> Outcome:
    params = model.layout.split(model.layout.initial(np.random.default_rng(0)))
    batches = islice(learnable(model, seed=2), steps)
    return train(run, list(params), batches=batches, settings=_SETTINGS.of(model))
