"""Which runtimes work on this device, found out in processes of their own.

An import that succeeds proves nothing: tflite-runtime on numpy 2 imports and then
fails, and a wheel built for another processor dies of an illegal instruction. What was
found to work is remembered by version, so that the next start is fast.
"""

import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

import edge_agent
from edge_agent.runtimes import RUNTIMES, Runtime
from edge_agent.state_files import StateFiles
from wire_protocol.errors import TrainingError

TIMEOUT_S: Final = 120.0
# The child must find this very package, installed or not: -m looks in its folder.
_HOME: Final = Path(edge_agent.__file__).parent.parent


@dataclass(frozen=True, slots=True)
class Finding:
    """What is known of one runtime here; it works when there is no ``problem``."""

    runtime: Runtime
    version: str
    problem: str = ""

    @property
    def label(self) -> str:
        """Name and version of the runtime, for people."""
        return f"{self.runtime.name} {self.version.partition(' ')[0]}".strip()


def installed_version(runtime: Runtime) -> str:
    """Return the version of the runtime and of numpy, or "" if not installed."""
    own = _distribution_version(runtime.distribution)
    return f"{own} (numpy {np.__version__})" if own else ""


def _distribution_version(name: str) -> str:
    """Return what the name of the installed package's ``.dist-info`` folder says.

    ``importlib.metadata`` reads the same, and costs an idle agent 2 MB.
    """
    stem = name.replace("-", "_")
    for folder in sys.path:
        for found in Path(folder or ".").glob(f"{stem}-*.dist-info"):
            return found.name.removesuffix(".dist-info").rpartition("-")[2]
    return ""


async def problem_of(command: Sequence[str], *, timeout_s: float = TIMEOUT_S) -> str:
    """Run a child process; return why it failed in one line, "" if it did not."""
    child = await asyncio.create_subprocess_exec(
        *command,
        cwd=_HOME,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(timeout_s):
            _, text = await child.communicate()
    except TimeoutError:
        return f"no answer in {timeout_s:g} s"
    finally:
        if child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                child.kill()
            await child.wait()
    code = child.returncode
    if code == 0:
        return ""
    if code is not None and code < 0:
        return f"died of {signal.Signals(-code).name}"
    lines = text.decode(errors="replace").strip().splitlines()
    return f"{lines[-1]:.300}" if lines else f"ended with code {code}"


async def self_test_problem(runtime: Runtime, folder: Path) -> str:
    """Return why the artifact in ``folder`` (absolute) fails on ``runtime``, or ""."""
    command = [sys.executable, "-m", "edge_agent.selftest", runtime.name]
    return await problem_of([*command, str(folder)])


async def probe(runtime: Runtime) -> Finding:
    """Find out whether ``runtime`` is installed and computes."""
    version = installed_version(runtime)
    if not version:
        return Finding(runtime, "", "not installed")
    command = [sys.executable, "-m", "edge_agent.selftest", runtime.name]
    return Finding(runtime, version, await problem_of(command))


async def working_runtime(
    candidates: Sequence[Runtime], *, files: StateFiles
) -> Finding:
    """Return the first of ``candidates`` that works.

    Raises:
        TrainingError: None does; the problem of each is in the message.
        StorageError: The state folder cannot be written.
    """
    memory = files.folder / "probe.json"
    known = _known(memory)
    findings = []
    for runtime in candidates:
        version = installed_version(runtime)
        if version and known.get(runtime.name) == version:
            return Finding(runtime, version)
        finding = await probe(runtime)
        if not finding.problem:
            known[runtime.name] = finding.version
            files.write(memory, json.dumps(known).encode())
            return finding
        findings.append(finding)
    remedy = f"pip install {candidates[0].distribution}"
    if len(candidates) == 1:
        remedy += ', or set [agent] runtime = "auto"'
    raise TrainingError(
        "the runtime does not work here: "
        + "; ".join(f"{finding.label}: {finding.problem}" for finding in findings),
        remedy=remedy,
    )


def candidates(choice: str) -> tuple[Runtime, ...]:
    """Return the runtimes to try for ``[agent] runtime``, in order."""
    every = tuple(RUNTIMES.values())
    if choice == "auto":
        return every
    return tuple(runtime for runtime in every if runtime.name == choice)


def _known(memory: Path) -> dict[str, str]:
    """Read what worked before; a damaged memory is no memory."""
    try:
        plain = json.loads(memory.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return plain if isinstance(plain, dict) else {}
