"""The self-test: does this runtime compute here what the artifact's maker computed?

Run as a program it tests one runtime in a process of its own, where an illegal
instruction or an abort harms nobody:

    python -m edge_agent.selftest litert            # a one-operator model
    python -m edge_agent.selftest litert FOLDER     # the artifact's own self-test

It ends with 0, or with the problem as the last line of its standard error.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edge_agent.runtimes import RUNTIMES, RuntimeName, runtime_named
from edge_agent.trainers.trainer import Trainer, open_trainer
from wire_protocol.errors import EdgefedError, TrainingError
from wire_protocol.manifest import Manifest
from wire_protocol.selftest import batches, check, start

_FOLDER = Path(__file__).parent / "trainers"


def self_test(trainer: Trainer, manifest: Manifest) -> None:
    """Run the manifest's self-test on ``trainer``, or raise ``TrainingError``."""
    test = manifest.selftest
    inputs = list(batches(manifest))
    trainer.begin(start(manifest.layout))
    losses = [
        trainer.step(
            batch,
            learning_rate=test.learning_rate,
            momentum=test.momentum,
            mu=test.mu,
            number=number,
        )
        for number, batch in enumerate(inputs)
    ]
    loss_sum, _ = trainer.evaluate(inputs[0])
    check(
        test,
        losses=losses,
        norms=[
            float(np.linalg.norm(tensor))
            for tensor in manifest.layout.split(trainer.params())
        ],
        eval_loss=loss_sum / float(inputs[0].w.sum()),
    )


def smoke_test(runtime: RuntimeName) -> None:
    """Run one addition on ``runtime``, or raise ``TrainingError``."""
    match runtime:
        case "onnxruntime":
            from edge_agent.trainers import onnx  # noqa: PLC0415

            doubled = onnx.smoke_test(_FOLDER / "smoke.onnx")
        case "litert" | "tflite-runtime":
            from edge_agent.trainers import tflite  # noqa: PLC0415

            package = tflite.PACKAGES[runtime]
            doubled = tflite.smoke_test(package, _FOLDER / "smoke.tflite")
    if doubled.tolist() != [2, 4, 6, 8]:
        raise TrainingError(f"twice [1, 2, 3, 4] is {doubled.tolist()} here")


def main(arguments: Sequence[str]) -> int:
    """Test the runtime ``arguments[0]``, on the artifact ``arguments[1]`` if given."""
    if not arguments or arguments[0] not in RUNTIMES or len(arguments) > 2:
        sys.stderr.write(f"usage: {' | '.join(RUNTIMES)} [FOLDER]\n")
        return 2
    runtime = runtime_named(arguments[0]).name
    try:
        if len(arguments) == 1:
            smoke_test(runtime)
        else:
            folder = Path(arguments[1])
            manifest = Manifest.from_json((folder / "manifest.json").read_bytes())
            trainer = open_trainer(runtime, folder, manifest=manifest)
            self_test(trainer, manifest)
            trainer.close()
    except (EdgefedError, ImportError, OSError) as error:
        sys.stderr.write(f"{error}\n".splitlines()[0] + "\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
