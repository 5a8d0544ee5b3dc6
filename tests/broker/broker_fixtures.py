"""Real mosquitto processes for tests; registered in ``tests/conftest.py``."""

import contextlib
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker_server.broker_policy.policy_folder import PolicyFolder
from broker_server.embedded_broker import LOOPBACK, find_mosquitto, mosquitto_conf

_START_S = 10.0


def free_port() -> int:
    """Return a port on which nobody listens just now."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


class Mosquitto:
    """A broker on a port of its own that a test may kill and start again."""

    def __init__(
        self, folder: Path, *, settings: str = "", policy: PolicyFolder | None = None
    ) -> None:
        """With ``policy`` it runs with that configuration, on that port."""
        if policy is None:
            self.port = free_port()
            self._config = folder / "mosquitto.conf"
            self._config.write_text(mosquitto_conf(self.port) + settings)
        else:
            policy.write()
            self.port, self._config = policy.listening.port, policy.config
        self._log = folder / "mosquitto.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it accepts connections."""
        program = find_mosquitto()
        if program is None:
            pytest.fail("these tests need mosquitto: sudo apt install mosquitto")
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [program, "-c", str(self._config)], stdout=log, stderr=log
            )
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline:
            try:
                socket.create_connection((LOOPBACK, self.port), 1.0).close()
            except OSError:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(0.02)
                    break
            else:
                return
        pytest.fail(f"mosquitto did not start: {self._log.read_text()}")

    def kill(self) -> None:
        """End it without a word to anybody."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@pytest.fixture(scope="session")
def broker_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Return the port of a broker shared by all tests: use topics of your own."""
    broker = Mosquitto(tmp_path_factory.mktemp("mosquitto"))
    broker.start()
    yield broker.port
    broker.kill()


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    """Return a running broker of the test's own."""
    broker = Mosquitto(tmp_path)
    broker.start()
    yield broker
    broker.kill()
