"""Processes whose every line is read as it comes, and can be waited for."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.scenarios.commands import ROOT

WAIT_S = 60.0


class Watched:
    """A running ``edgefed`` command; ``lines`` is what it has said so far."""

    def __init__(self, *words: str, cwd: Path, prefix: Sequence[str] = ()) -> None:
        self.lines: list[str] = []
        self._said = threading.Condition()
        self.process = subprocess.Popen(
            [*prefix, sys.executable, "-m", "tools.cli", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=cwd,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._said:
                self.lines.append(line)
                self._said.notify_all()
        with self._said:
            self._said.notify_all()

    def until(self, text: str, *, times: int = 1, since: int = 0) -> str:
        """Wait until ``times`` lines from line ``since`` on hold ``text``."""

        def found() -> list[str]:
            return [line for line in self.lines[since:] if text in line]

        with self._said:
            self._said.wait_for(
                lambda: len(found()) >= times or not self._reading.is_alive(), WAIT_S
            )
        assert len(found()) >= times, f"never said {text!r}:\n{''.join(self.lines)}"
        return found()[times - 1]

    def stop(self) -> int:
        """Ask it to end, and return its exit code."""
        assert self.process.stdout is not None
        if self.process.stdout.closed:  # it was stopped before
            return self.process.wait()
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(30)
        self._reading.join()
        self.process.stdout.close()
        said = "".join(self.lines)
        assert "Traceback" not in said, said
        return code


@contextmanager
def watched(*words: str, cwd: Path, prefix: Sequence[str] = ()) -> Iterator[Watched]:
    """Run a command while the block runs."""
    command = Watched(*words, cwd=cwd, prefix=prefix)
    try:
        yield command
    finally:
        command.stop()
