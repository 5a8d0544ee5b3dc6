"""Memory that a model takes on a runtime: peaks of processes that do one thing each."""

import importlib.metadata
import subprocess
import sys
from pathlib import Path

from edge_agent.runtimes import RUNTIMES, Runtime
from model_zoo.measured import Memory
from wire_protocol.errors import TrainingError

_TIMEOUT_S = 300.0


def measure_memory(artifact: Path) -> dict[str, Memory]:
    """Return the peaks by runtime, of those that are installed here.

    Raises:
        TrainingError: A runtime failed.
    """
    measured: dict[str, Memory] = {}
    for runtime in RUNTIMES.values():
        version = _version(runtime)
        if version is None:
            continue
        floor, train, infer = (
            _peak_mib(runtime, artifact, what) for what in ("floor", "train", "infer")
        )
        measured[runtime.name] = Memory(version, floor, train, infer)
    return measured


def _version(runtime: Runtime) -> str | None:
    try:
        return importlib.metadata.version(runtime.distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _peak_mib(runtime: Runtime, artifact: Path, what: str) -> float:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "tools.quality.memory_probe"),
            *(runtime.name, str(artifact), what),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=_TIMEOUT_S,
    )
    if done.returncode:
        raise TrainingError(
            f"{runtime.name} failed at {what}: {done.stderr.strip()[-300:]}"
        )
    return round(float(done.stdout.splitlines()[-1]), 1)
