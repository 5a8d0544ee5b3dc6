"""The embedded broker starts, says what it is, and never outlives its parent."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from broker_server.embedded_broker import (
    AMQTT_NOTICE,
    LOOPBACK,
    embedded_broker,
    find_mosquitto,
    mosquitto_conf,
)
from wire_protocol.errors import RefusedError

pytestmark = pytest.mark.broker

PARENT = """
import asyncio, sys
from pathlib import Path
from broker_server.embedded_broker import embedded_broker

async def main():
    async with embedded_broker(0, Path(sys.argv[1]), kind=sys.argv[2]) as broker:
        print(broker.port, broker.pid, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


def listens(port: int) -> bool:
    try:
        socket.create_connection((LOOPBACK, port), 1.0).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize(
    ("kind", "protocol", "notice"),
    [("mosquitto", "5", ""), ("amqtt", "3.1.1", AMQTT_NOTICE)],
)
def test_it_listens_inside_the_block_and_is_gone_after_it(
    tmp_path: Path, kind: str, protocol: str, notice: str
) -> None:
    async def test() -> None:
        async with embedded_broker(0, tmp_path / "new", kind=kind) as broker:  # type: ignore[arg-type]
            assert listens(broker.port)
            assert (broker.kind, broker.protocol) == (kind, protocol)
            assert broker.notice == notice
        assert not listens(broker.port)
        with pytest.raises(ProcessLookupError):
            os.kill(broker.pid, 0)

    asyncio.run(test())


def test_it_is_stopped_when_the_block_fails(tmp_path: Path) -> None:
    pids = []

    async def test() -> None:
        async with embedded_broker(0, tmp_path) as broker:
            pids.append(broker.pid)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        asyncio.run(test())
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)


def test_a_busy_port_is_refused_with_its_number_and_a_remedy(tmp_path: Path) -> None:
    async def test(port: int) -> None:
        with pytest.raises(RefusedError, match=f"port {port}.*in use") as refusal:
            async with embedded_broker(port, tmp_path):
                pass
        assert f"sport = :{port}" in refusal.value.remedy
        assert "[broker] port" in refusal.value.remedy

    with socket.create_server((LOOPBACK, 0)) as holder:
        asyncio.run(test(holder.getsockname()[1]))


def test_a_port_can_be_used_again_right_after_the_broker_left_it(
    tmp_path: Path,
) -> None:
    async def test() -> None:
        async with embedded_broker(0, tmp_path) as first:
            with socket.create_connection((LOOPBACK, first.port)):
                pass
        async with embedded_broker(first.port, tmp_path) as second:
            assert second.port == first.port

    asyncio.run(test())


def test_ctrl_c_in_the_terminal_does_not_reach_it(tmp_path: Path) -> None:
    async def test() -> None:
        async with embedded_broker(0, tmp_path) as broker:
            assert os.getpgid(broker.pid) != os.getpgid(0)
            assert os.getsid(broker.pid) != os.getsid(0)

    asyncio.run(test())


@pytest.mark.parametrize("kind", ["mosquitto", "amqtt"])
def test_it_dies_with_a_parent_that_is_killed(tmp_path: Path, kind: str) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path), kind], stdout=subprocess.PIPE
    )
    assert parent.stdout is not None
    with parent.stdout:
        port, pid = (int(word) for word in parent.stdout.readline().split())
        assert listens(port)
        # A file descriptor of the process becomes readable when it ends.
        watch = os.pidfd_open(pid)
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    asyncio.run(readable(watch))
    os.close(watch)
    assert not listens(port)


async def readable(descriptor: int) -> None:
    ready = asyncio.Event()
    asyncio.get_running_loop().add_reader(descriptor, ready.set)
    try:
        await asyncio.wait_for(ready.wait(), 10)
    finally:
        asyncio.get_running_loop().remove_reader(descriptor)


def test_mosquitto_is_found_where_debian_hides_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    found = find_mosquitto()
    assert found is not None, "these tests need mosquitto: sudo apt install mosquitto"
    assert Path(found).name == "mosquitto"


def test_strangers_are_admitted_on_loopback_only() -> None:
    lines = mosquitto_conf(4321).splitlines()
    assert "listener 4321 127.0.0.1" in lines
    assert [line for line in lines if line.startswith("listener")] == [lines[0]]
    assert "max_queued_messages 0" in lines
