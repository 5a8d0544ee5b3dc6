"""One side of ``bench_train``, in a process of its own: steps on demand, one thread.

    python -m tools.twins.timed_side SIDE MODEL

Says what it is in a line of JSON; then, for every line it reads, takes steps and says
in how many milliseconds of CPU time each.
"""

import json
import sys
import time
from collections.abc import Callable
from importlib import metadata
from itertools import islice
from typing import Final

import numpy as np

from edge_agent.runtimes import RuntimeName
from model_zoo import zoo
from model_zoo.model import Model
from model_zoo.runners import oracle
from model_zoo.stepping import Settings, train
from model_zoo.verification.learnable import learnable
from wire_protocol.params import Vector
from wire_protocol.selftest import Batch

OURS: Final[dict[str, RuntimeName]] = {
    "LiteRT": "litert",
    "ONNX Runtime": "onnxruntime",
    "tflite-runtime": "tflite-runtime",
}
PEERS: Final = {
    "torch": "torch",
    "Keras": "tensorflow-cpu",
    "tf.function": "tensorflow-cpu",
}
_DISTRIBUTIONS: Final = {
    "LiteRT": "ai-edge-litert",
    "ONNX Runtime": "onnxruntime",
    "tflite-runtime": "tflite-runtime",
    **PEERS,
}
LEAST_STEPS: Final = 30
LEAST_S: Final = 0.1
"""A repetition takes as many steps as either needs."""
LIMIT: Final = 1e-3
"""Greatest relative difference of a side's losses from the oracle's."""

Step = Callable[[], float]


def full_batches(model: Model, count: int) -> list[Batch]:
    """Return batches without padding rows: what every side steps on."""
    ones = np.ones(model.batch, np.float32)
    return [
        Batch(batch.x, batch.y, ones)
        for batch in islice(learnable(model, seed=2), count)
    ]


def expected(model: Model, params: Vector, batches: list[Batch]) -> tuple[float, ...]:
    """Return the losses that steps on ``batches`` must start from."""
    settings = Settings(model.plan.learning_rate, model.plan.momentum).of(model)
    tensors = list(model.layout.split(params))
    return train(oracle(model), tensors, batches=batches, settings=settings).losses


def opened(
    side: str, model: Model, params: Vector
) -> tuple[int, Callable[[Batch], Step]]:
    """Return a side's number of parameters, and what makes a step of a batch."""
    if side in OURS:
        from edge_agent.trainers.trainer import open_trainer  # noqa: PLC0415

        manifest = zoo.manifest(model.name)
        trainer = open_trainer(
            OURS[side], zoo.artifact_folder(model.name), manifest=manifest
        )
        trainer.begin(params)
        rate, momentum = model.plan.learning_rate, model.plan.momentum

        def ours(batch: Batch) -> Step:
            return lambda: trainer.step(
                batch, learning_rate=rate, momentum=momentum, mu=0.0
            )

        return manifest.layout.size, ours
    if side == "torch":
        from tools.twins import torch_twin  # noqa: PLC0415

        twin: torch_twin.Step = torch_twin.Step(model, params)
        return twin.parameters, lambda batch: _bound(twin, batch)
    from tools.twins import keras_twin  # noqa: PLC0415

    other = keras_twin.Step(model, params, own=side == "Keras")
    return other.parameters, lambda batch: _bound(other, batch)


def _bound(twin, batch: Batch) -> Step:  # type: ignore[no-untyped-def]  # noqa: ANN001
    laid = twin.laid_out(batch)
    return lambda: twin(laid)


def main(side: str, name: str) -> None:
    """Check the side against the oracle, then time steps as told."""
    model = zoo.model(name)
    params = model.layout.initial(np.random.default_rng(0))
    batches = full_batches(model, 4)
    count, bind = opened(side, model, params)
    steps = [bind(batch) for batch in batches]
    losses = [step() for step in steps[:2]]
    wanted = expected(model, params, batches[:2])
    alike = bool(np.allclose(losses, wanted, rtol=LIMIT)) or model.seeded
    fits = count == model.layout.size
    said = {
        "version": metadata.version(_DISTRIBUTIONS[side]),
        "parameters": count,
        "losses": losses,
        "problem": ""
        if alike and fits
        else f"{count} parameters and losses {losses}, not {model.layout.size} and "
        f"{list(wanted)}",
    }
    print(json.dumps(said), flush=True)
    number = _enough(steps)
    for _ in sys.stdin:
        print(_timed(steps, number), flush=True)


def _enough(steps: list[Step]) -> int:
    _timed(steps, LEAST_STEPS)
    ms = _timed(steps, LEAST_STEPS)
    return max(LEAST_STEPS, int(1000 * LEAST_S / max(ms, 1e-3)))


def _timed(steps: list[Step], number: int) -> float:
    began = time.process_time()
    for turn in range(number):
        steps[turn % len(steps)]()
    return 1000 * (time.process_time() - began) / number


if __name__ == "__main__":
    main(*sys.argv[1:])
