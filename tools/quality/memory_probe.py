"""Peak memory of one process that does one thing with an artifact; prints MiB.

    python -m tools.quality.memory_probe onnxruntime FOLDER train

``floor`` imports numpy and the runtime, ``train`` takes steps, ``infer`` runs as many
batches. The peak is the kernel's ``VmHWM``: ``ru_maxrss`` would count the parent too.
"""

import importlib
import re
import sys
from pathlib import Path
from typing import Final

from edge_agent.runtimes import runtime_named
from edge_agent.trainers.tflite import PACKAGES
from edge_agent.trainers.trainer import open_trainer
from model_zoo import runners
from wire_protocol.manifest import Manifest
from wire_protocol.selftest import batches, start

STEPS: Final = 20


def main(runtime_name: str, folder: Path, what: str) -> None:
    """Do it, and print the peak."""
    name = runtime_named(runtime_name).name
    manifest = Manifest.from_json((folder / "manifest.json").read_bytes())
    given = batches(manifest, steps=STEPS)
    if what == "floor":
        package = PACKAGES.get(name)
        importlib.import_module(f"{package}.interpreter" if package else name)
    elif what == "train":
        trainer = open_trainer(name, folder, manifest=manifest)
        trainer.begin(start(manifest.layout))
        for number, batch in enumerate(given):
            trainer.step(batch, learning_rate=0.01, momentum=0.9, mu=0.0, number=number)
    else:
        run = (runners.onnx_runtime if name == "onnxruntime" else runners.litert)(
            folder
        )
        tensors = manifest.layout.split(start(manifest.layout))
        params = {f"p{number:02}": tensor for number, tensor in enumerate(tensors)}
        for batch in given:
            run("infer", {**params, "x": batch.x})
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert peak
    print(int(peak[1]) / 1024)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
