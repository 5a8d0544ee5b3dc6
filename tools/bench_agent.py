"""What an agent costs: packages, import time, memory idle and in training.

    make bench-agent            # a table
    make bench-agent ARGS=--json

Real processes: a broker, a server, one agent on each runtime. Examples are random,
since memory does not depend on what they show. Peaks are the kernel's (VmHWM).
"""

import argparse
import asyncio
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Final

import numpy as np

from edge_agent.runtimes import RUNTIMES, RuntimeName
from model_zoo import zoo
from model_zoo.data.federation import Shard
from tools.demo.children import Children
from tools.demo.demo import working_runtimes
from tools.demo.display import PlainDisplay
from tools.demo.federation_run import run_federation, started_broker
from tools.demo.plan import DemoPlan, Protection
from tools.demo.workspace import FLEET, Workspace
from wire_protocol.link import Received
from wire_protocol.mqtt import MqttLink
from wire_protocol.topics import Topics

MODEL: Final = "har-cnn1d"
EXAMPLES: Final = 400
ROUNDS: Final = 3
_SAMPLE_S: Final = 0.05
_IMPORTS: Final = 5
_FLOOR: Final = """
import sys
from pathlib import Path
from edge_agent.trainers.trainer import open_trainer
from wire_protocol.manifest import Manifest
from wire_protocol import selftest
import numpy as np
folder = Path(sys.argv[2])
manifest = Manifest.from_json((folder / "manifest.json").read_bytes())
trainer = open_trainer(sys.argv[1], folder, manifest=manifest)
trainer.begin(selftest.start(manifest.layout))
for batch in selftest.batches(manifest, steps=50):
    trainer.step(batch, learning_rate=0.01, momentum=0.9, mu=0.0)
print(open("/proc/self/status").read())
"""


def bare_packages() -> list[str]:
    """Return what the bare install brings, edgefed included, by its metadata."""
    found: set[str] = set()
    left = ["edgefed"]
    while left:
        name = left.pop()
        if name in found:
            continue
        found.add(name)
        for requirement in metadata.requires(name) or ():
            wanted, _, marker = requirement.partition(";")
            if "extra" in marker or "python_version" in marker:
                continue
            match = re.match(r"[A-Za-z0-9_.-]+", wanted)
            assert match
            left.append(match.group())
    return sorted(found)


def keeping_bytecode(folder: str) -> dict[str, str]:
    """Return our environment, in which Python keeps bytecode in ``folder``."""
    environ = {**os.environ, "PYTHONPYCACHEPREFIX": folder}
    environ.pop("PYTHONDONTWRITEBYTECODE", None)
    return environ


def import_seconds() -> float:
    """Return the median time of importing the agent, less Python's own start.

    Bytecode is there, as behind every installation, whatever the environment says.
    """
    with tempfile.TemporaryDirectory() as folder:
        environ = keeping_bytecode(folder)

        def timed(code: str) -> float:
            began = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True, env=environ)
            return time.perf_counter() - began

        timed("import edge_agent.service")
        times = [
            timed("import edge_agent.service") - timed("pass") for _ in range(_IMPORTS)
        ]
    return statistics.median(times)


def memory_mib(status: str, field: str) -> float:
    """Read a field of ``/proc/<pid>/status``, in MiB."""
    match = re.search(rf"^{field}:\s+(\d+) kB", status, re.MULTILINE)
    assert match, f"{field} is not in /proc/<pid>/status"
    return int(match.group(1)) / 1024


def floor_mib(runtime: RuntimeName) -> float:
    """Return the peak of a process that does nothing but 50 steps of the model."""
    done = subprocess.run(
        [sys.executable, "-c", _FLOOR, runtime, str(zoo.artifact_folder(MODEL))],
        check=True,
        capture_output=True,
        text=True,
    )
    return memory_mib(done.stdout, "VmHWM")


async def idle_mib(
    folder: Path, runtime: RuntimeName, *, protection: Protection
) -> float:
    """Return the memory of an agent that is online and waits for its first offer.

    With ``protection`` "tls" it is a member of a fleet.
    """
    workspace = Workspace.create(folder, [_shard("idle")], runtimes=[runtime])
    plan = replace(_plan(), protection=protection)
    async with (
        started_broker(workspace, plan, kind="auto") as broker,
        MqttLink(broker.onlooker, fail_fast=True) as link,
        Children() as children,
    ):
        workspace.configure(plan, port=broker.port, protocol=broker.protocol)
        device = workspace.devices[0]
        topic = Topics(FLEET).device(device.name, "info")
        await link.subscribe(topic)
        agent = await children.start(
            device.name,
            ["agent", "run", "--config", str(device.config)],
            log=device.log,
        )
        async with asyncio.timeout(60):
            async for event in link.events():
                if isinstance(event, Received):
                    break
        status = await asyncio.to_thread(
            Path(f"/proc/{agent.process.pid}/status").read_text
        )
        return memory_mib(status, "VmRSS")


async def training_mib(folder: Path, runtime: RuntimeName) -> tuple[float, float]:
    """Return an agent's peak over some rounds, and its memory after the last."""
    workspace = Workspace.create(folder, [_shard("trains")], runtimes=[runtime])
    samples: dict[str, float] = {}
    sampling = asyncio.create_task(_sample(str(workspace.devices[0].config), samples))
    await run_federation(
        workspace,
        _plan(),
        display=PlainDisplay(lambda _: None),
        on_version=lambda _: None,
        broker_kind="auto",
    )
    sampling.cancel()
    return samples["VmHWM"], samples["VmRSS"]


async def _sample(config: str, samples: dict[str, float]) -> None:
    """Read the agent's memory until cancelled; its last words are what counts."""
    while True:
        _sample_once(config, samples)
        await asyncio.sleep(_SAMPLE_S)


def _sample_once(config: str, samples: dict[str, float]) -> None:
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().decode().split("\0")
            if config in words and "-IS" not in words:
                status = (folder / "status").read_text()
                for field in ("VmHWM", "VmRSS"):
                    samples[field] = memory_mib(status, field)
        except (OSError, AssertionError):
            continue  # it ended while we looked


def _shard(name: str) -> Shard:
    manifest = zoo.manifest(MODEL)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(EXAMPLES, *manifest.input_shape)).astype(np.float32)
    y = rng.integers(manifest.outputs, size=EXAMPLES).astype(np.int32)
    return Shard(name, x, y)


def _plan() -> DemoPlan:
    suited = DemoPlan.suited("random", zoo.model(MODEL))
    return replace(suited, rounds=ROUNDS, epochs=2, compare=False)


async def measure(folder: Path, *, tell: Callable[[str], object]) -> dict[str, object]:
    """Measure everything; units are in the names."""
    tell("counting packages, importing")
    figures: dict[str, object] = {
        "model": MODEL,
        "bare_packages": bare_packages(),
        "import_s": import_seconds(),
    }
    for number, runtime in enumerate(await working_runtimes()):
        tell(f"running an agent on {runtime}")
        peak, after = await training_mib(folder / f"training-{number}", runtime)
        figures[runtime] = {
            "distribution": RUNTIMES[runtime].distribution,
            "idle_mib": await idle_mib(
                folder / f"idle-{number}", runtime, protection="none"
            ),
            "member_idle_mib": await idle_mib(
                folder / f"member-{number}", runtime, protection="tls"
            ),
            "floor_mib": floor_mib(runtime),
            "training_peak_mib": peak,
            "between_rounds_mib": after,
        }
    return figures


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bench_agent", description=__doc__)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        figures = asyncio.run(
            measure(Path(folder), tell=lambda text: print(text, file=sys.stderr))
        )
    if args.json:
        print(json.dumps(figures, indent=2))
        return 0
    packages = bare_packages()
    print(f"bare install: {len(packages)} packages: {', '.join(packages)}")
    print(f"import: {figures['import_s']:.2f} s")
    print(
        f"{MODEL}, MiB: idle | idle, as a member of a fleet | training, peak | "
        "the runtime's own floor, peak"
    )
    for name, values in figures.items():
        if isinstance(values, dict):
            print(
                f"  {name}: {values['idle_mib']:.1f} | "
                f"{values['member_idle_mib']:.1f} | "
                f"{values['training_peak_mib']:.1f} | {values['floor_mib']:.1f}"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
