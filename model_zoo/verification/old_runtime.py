"""tflite-runtime 2.14 in an environment of its own: it needs numpy below 2.

The environment is made once, by ``venv`` and ``pip``, in the user's cache folder; an
artifact then runs there in a child process (``child.py``).
"""

import contextlib
import fcntl
import io
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
from numpy.typing import NDArray

from model_zoo.runners import Arrays, Runner
from model_zoo.user_cache import user_cache
from wire_protocol.errors import ConfigError, TrainingError

NAME: Final = "tflite-runtime"
REQUIREMENTS: Final = ("tflite-runtime==2.14.*", "numpy<2")
NEWEST_PYTHON: Final = (3, 11)
"""There are no wheels of 2.14 for newer ones."""

_CHILD: Final = Path(__file__).with_name("child.py")
_INSTALL_S: Final = 600.0
_MAX_BLOCK: Final = 1 << 30


def cache_folder(environ: Mapping[str, str]) -> Path:
    """Return where environments are kept, by ``XDG_CACHE_HOME`` or ``HOME``."""
    cache = user_cache(environ)
    if cache is None:
        raise ConfigError(
            "neither XDG_CACHE_HOME nor HOME says where to keep an environment",
            remedy="set one, or leave out tflite-runtime with --runtimes",
        )
    return cache / "runtimes"


def environment(folder: Path, *, say: Callable[[str], None]) -> Path:
    """Return the environment's Python, made in ``folder`` unless it is there.

    Raises:
        ConfigError: No Python is old enough, or pip cannot install (offline, say).
    """
    place = folder / "tflite-runtime-2.14"
    python, ready = place / "bin" / "python", place / "ready"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "tflite-runtime-2.14.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # two of us may come at once
            if not (ready.exists() and python.exists()):
                shutil.rmtree(place, ignore_errors=True)
                say(f"making an environment for tflite-runtime in {place}, once")
                _make(place, python)
                ready.touch()
    except OSError as error:
        raise ConfigError(
            f"cannot make an environment in {folder}: {error.strerror or error}",
            remedy="set XDG_CACHE_HOME to a folder that can be written",
        ) from error
    return python


def _make(place: Path, python: Path) -> None:
    _call(_old_python(), "-m", "venv", str(place))
    pip = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    _call(str(python), *pip, *REQUIREMENTS)
    _call(str(python), "-c", "import numpy, tflite_runtime.interpreter")


def _old_python() -> str:
    if sys.version_info[:2] <= NEWEST_PYTHON:
        return sys.executable
    for minor in (11, 10, 9):
        found = shutil.which(f"python3.{minor}")
        if found and subprocess.run([found, "-c", ""], check=False).returncode == 0:
            return found
    running = ".".join(map(str, sys.version_info[:2]))
    raise ConfigError(
        f"tflite-runtime 2.14 needs Python 3.11 or older, and this is {running}",
        remedy="install python3.11 beside it",
    )


def _call(*command: str) -> None:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=_INSTALL_S
        )
    except subprocess.TimeoutExpired as error:
        raise ConfigError(f"{command[0]} took over {_INSTALL_S:.0f} s") from error
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or "nothing").splitlines()
        raise ConfigError(
            f"tflite-runtime cannot be installed: {said[-1][:200]}",
            remedy="it is fetched once, which needs a network",
        )


@contextlib.contextmanager
def old_runtime(file: Path, *, python: Path) -> Iterator[Runner]:
    """Run the signatures of ``file`` in the environment of ``python``.

    The runner raises ``TrainingError`` where the runtime fails or its process ends.
    """
    with (
        tempfile.TemporaryFile() as said,
        subprocess.Popen(
            [str(python), "-I", str(_CHILD), str(file)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
        ) as child,
    ):
        assert child.stdin
        assert child.stdout
        requests, answers = child.stdin, child.stdout

        def run(name: str, given: Arrays) -> dict[str, NDArray[Any]]:
            packed = io.BytesIO()
            np.savez(packed, allow_pickle=False, **dict(given))
            try:
                for block in (name.encode(), packed.getvalue()):
                    requests.write(struct.pack("<Q", len(block)) + block)
                requests.flush()
                sign, answer = _read(answers), _read(answers)
            except (OSError, EOFError) as error:
                code = child.wait()
                said.seek(0)
                lines = said.read().decode(errors="replace").strip().splitlines()
                raise TrainingError(
                    f"{NAME} ended with {code}: {lines[-1] if lines else 'silence'}"
                ) from error
            if sign != b"+":
                raise TrainingError(f"{NAME} failed: {answer.decode():.200}")
            with np.load(io.BytesIO(answer), allow_pickle=False) as arrays:
                return dict(arrays)

        try:
            yield run
        finally:
            with contextlib.suppress(OSError):
                requests.close()


def _read(source: IO[bytes]) -> bytes:
    head = source.read(8)
    if len(head) < 8:
        raise EOFError
    (size,) = struct.unpack("<Q", head)
    if size > _MAX_BLOCK:
        raise EOFError
    return source.read(size)
