"""Foreign files are parsed in a process of their own, with little memory and time.

HDF5, protobuf and the runtimes are large C libraries: whatever a file makes one of them
do, the command says so and ends well. It is a fence against accidents and bombs, not
against somebody who found a hole in one of these libraries.
"""

import os
import resource
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from signal import Signals
from typing import Final

import model_zoo
from wire_protocol.errors import ConfigError

_HOME: Final = Path(model_zoo.__file__).parent.parent
_MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Limits:
    """What a child may take."""

    memory_mib: int
    seconds: int
    file_mib: int = 600


READING: Final = Limits(memory_mib=3072, seconds=120)
RUNNING: Final = Limits(memory_mib=12_288, seconds=300)
"""TensorFlow alone reserves gigabytes of addresses; it touches few of them."""


def limit_myself(limits: Limits) -> None:
    """Set this process's limits, before anything large is imported."""
    size = limits.memory_mib * _MIB
    resource.setrlimit(resource.RLIMIT_AS, (size, size))
    resource.setrlimit(resource.RLIMIT_CPU, (limits.seconds, limits.seconds + 5))
    files = limits.file_mib * _MIB
    resource.setrlimit(resource.RLIMIT_FSIZE, (files, files))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def run_child(module: str, arguments: Sequence[str], *, limits: Limits) -> None:
    """Run ``python -m module``, which limits itself, to its end.

    Raises:
        ConfigError: It failed; what it said last, or what it died of.
    """
    # One thread each: every further one reserves memory for its stack.
    libraries = ("OPENBLAS", "OMP", "MKL")
    threads = {f"{library}_NUM_THREADS": "1" for library in libraries}
    try:
        done = subprocess.run(
            [sys.executable, "-m", module, *arguments],
            cwd=_HOME,
            env={**os.environ, **threads, "TF_CPP_MIN_LOG_LEVEL": "3"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=2 * limits.seconds,
        )
    except subprocess.TimeoutExpired as error:
        raise ConfigError(
            f"the file kept its reader busy for {2 * limits.seconds} s",
            remedy="it is too large, or made to be",
        ) from error
    if done.returncode == 0:
        return
    if done.returncode < 0:
        raise ConfigError(
            f"the reader of the file died of {Signals(-done.returncode).name}",
            remedy="the file is broken, or made to be",
        )
    said = done.stdout.decode(errors="replace").strip()
    problem, _, remedy = said.partition("\0")
    if not problem:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        problem = f"the file cannot be read: {(lines or ['no reason given'])[-1]:.200}"
    raise ConfigError(problem, remedy=remedy)


def report(error: ConfigError) -> int:
    """Tell the parent what is wrong; return the exit code."""
    sys.stdout.write(f"{error.problem}\0{error.remedy}")
    return error.exit_code
