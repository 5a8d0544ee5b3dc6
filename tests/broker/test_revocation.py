"""A broker that follows its fleet: who is locked out is out, at once and for good."""

import asyncio
import contextlib
import os
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from broker_server.broker_policy.fleet_broker import FleetBroker, fleet_broker
from broker_server.broker_policy.policy_folder import Listening
from broker_server.embedded_broker import free_port
from tests.broker.guarded_fleet import (
    CLAIM,
    TOPICS,
    GuardedFleet,
    connected,
    context,
    turned_away,
)
from tests.broker.raw_client import ClosedError, RawClient
from wire_protocol.errors import RefusedError

pytestmark = pytest.mark.broker

A, B = "porch", "cellar"
LOCAL = Listening("127.0.0.1", 0)


@pytest.fixture
def fleet(tmp_path: Path) -> GuardedFleet:
    return GuardedFleet(tmp_path)


def running(
    fleet: GuardedFleet, port: int = 0
) -> contextlib.AbstractAsyncContextManager[FleetBroker]:
    return fleet_broker(
        fleet.folder, fleet.path / "broker", listening=Listening("127.0.0.1", port)
    )


def test_a_revoked_device_is_out_in_three_seconds_and_stays_out(
    fleet: GuardedFleet,
) -> None:
    stolen, kept = fleet.join(A), fleet.join(B)

    def revoke_and_wait(port: int) -> float:
        with connected(port, stolen) as thief, connected(port, kept) as other:
            assert thief.publish(TOPICS.device(A, "info"), b"before") == 0
            assert other.publish(TOPICS.device(B, "info"), b"before") == 0
            began = time.monotonic()
            fleet.folder.revoke(A, why="lost", now=fleet.now)
            thief.wait_for_the_end()
            took = time.monotonic() - began
            assert turned_away(port, stolen)
            assert other.publish(TOPICS.device(B, "info"), b"after") == 0
            return took

    async def test() -> None:
        async with running(fleet) as broker:
            took = await asyncio.to_thread(revoke_and_wait, broker.port)
            assert took < 3.0
            assert not list((fleet.path / "broker").glob(".takeover-*/*.pem"))
        async with running(fleet, broker.port) as again:
            assert await asyncio.to_thread(turned_away, again.port, stolen)
            assert not await asyncio.to_thread(turned_away, again.port, kept)

    asyncio.run(test())


def test_a_revoked_device_that_comes_back_at_once_never_gets_in_again(
    fleet: GuardedFleet,
) -> None:
    """It tries without a pause while its session is taken over."""
    stolen = fleet.join(A)
    fleet.join(B)

    def revoke_and_insist(port: int) -> None:
        with connected(port, stolen) as thief:
            fleet.folder.revoke(A, why="lost", now=fleet.now)
            thief.wait_for_the_end()
        deadline = time.monotonic() + 1.0
        while time.monotonic() < deadline:
            assert turned_away(port, stolen)

    async def test() -> None:
        async with running(fleet) as broker:
            await asyncio.to_thread(revoke_and_insist, broker.port)

    asyncio.run(test())


def test_a_resumed_session_of_tls_does_not_get_a_revoked_device_in(
    fleet: GuardedFleet,
) -> None:
    """Resuming skips the certificate; a reload makes all sessions worthless."""
    made = context(fleet.join(A))

    def resumed(port: int, session: ssl.SSLSession | None) -> ssl.SSLSession | None:
        with RawClient(port, made, session) as client:
            assert client.connect("any") == 0
            client.ping()
            assert isinstance(client.sock, ssl.SSLSocket)
            assert client.sock.session_reused is (session is not None)
            return client.sock.session

    def revoke_and_resume(port: int) -> None:
        session = resumed(port, None)
        session = resumed(port, session)  # the control: before, it works
        with RawClient(port, made) as client:
            assert client.connect("any") == 0
            fleet.folder.revoke(A, why="lost", now=fleet.now)
            client.wait_for_the_end()
        with pytest.raises((ssl.SSLError, ClosedError, ConnectionResetError)):
            resumed(port, session)

    async def test() -> None:
        async with running(fleet) as broker:
            await asyncio.to_thread(revoke_and_resume, broker.port)

    asyncio.run(test())


def test_a_device_that_joins_and_a_claim_that_opens_are_known_at_once(
    fleet: GuardedFleet,
) -> None:
    """Its certificate lets it in; the claim is shut out of rounds by the list."""

    def join_and_listen(port: int) -> None:
        with connected(port, fleet.join(A)) as device:
            assert device.publish(TOPICS.device(A, "info"), b"hello") == 0
        claim = fleet.open_claim(CLAIM)
        acl = fleet.path / "broker" / "mosquitto.acl"
        eventually(lambda: f"user {CLAIM}\n" in acl.read_text())
        with (
            connected(port, claim) as guest,
            connected(port, fleet.server_files) as server,
        ):
            guest.subscribe(TOPICS.round("+"))
            guest.subscribe(TOPICS.enrolment(CLAIM, "res"))

            def refused() -> bool:
                server.publish(TOPICS.round(3), b"offer")
                server.publish(TOPICS.enrolment(CLAIM, "res"), b"end")
                return [one.payload for one in guest.until(b"end")] == [b"end"]

            eventually(refused)

    async def test() -> None:
        async with running(fleet) as broker:
            await asyncio.to_thread(join_and_listen, broker.port)

    asyncio.run(test())


def test_a_mosquitto_that_dies_is_started_again(fleet: GuardedFleet) -> None:
    files = fleet.join(A)

    def back_at(port: int) -> bool:
        try:
            return not turned_away(port, files)
        except ConnectionRefusedError:
            return False

    async def test() -> None:
        async with running(fleet) as broker:
            first = broker.pid
            os.kill(first, signal.SIGKILL)
            await asyncio.to_thread(eventually, lambda: back_at(broker.port))
            assert broker.restarts == 1
            assert broker.pid != first

    asyncio.run(test())


def test_nothing_is_left_when_the_block_ends_or_fails(fleet: GuardedFleet) -> None:
    pids: list[int] = []

    async def test() -> None:
        async with running(fleet) as broker:
            pids.append(broker.pid)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        asyncio.run(test())
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)


def test_a_configuration_that_mosquitto_refuses_is_told_with_its_words(
    fleet: GuardedFleet,
) -> None:
    (fleet.folder.path / "broker.key").write_bytes(b"no key")

    async def test() -> None:
        async with running(fleet):
            pass

    with pytest.raises(RefusedError, match="did not start: Error"):
        asyncio.run(test())


def test_an_address_that_the_certificate_does_not_have_is_refused(
    fleet: GuardedFleet,
) -> None:
    async def test() -> None:
        where = Listening("127.0.0.9", 0)
        async with fleet_broker(fleet.folder, fleet.path / "broker", listening=where):
            pass

    with pytest.raises(RefusedError, match=r"not for 127\.0\.0\.9.*0\.0\.0\.0"):
        asyncio.run(test())


def test_the_command_runs_until_sigterm(fleet: GuardedFleet) -> None:
    files, port = fleet.join(A), free_port(0)
    command = [
        *(sys.executable, "-m", "tools.cli", "broker", "run"),
        *("--fleet-dir", str(fleet.folder.path)),
        *("--listen", "127.0.0.1", "--port", str(port)),
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            for line in process.stderr:
                if "for fleet home on 127.0.0.1" in line:
                    break
            with connected(port, files) as device:
                assert device.publish(TOPICS.device(A, "info"), b"hello") == 0
                process.terminate()
                device.wait_for_the_end()
            rest = process.stderr.read()
        finally:
            process.terminate()
    assert process.returncode == 0
    assert "Traceback" not in rest
    assert (fleet.path / "broker" / "mosquitto.conf").exists()


def test_the_server_reaches_it_as_localhost(fleet: GuardedFleet) -> None:
    made = context(fleet.server_files)

    async def test() -> None:
        async with running(fleet) as broker:
            _, writer = await asyncio.open_connection(
                "127.0.0.1", broker.port, ssl=made, server_hostname="localhost"
            )
            writer.close()
            with contextlib.suppress(ssl.SSLError, ConnectionError):
                await writer.wait_closed()

    asyncio.run(test())


def eventually(holds: Callable[[], bool], *, within_s: float = 10.0) -> None:
    """Ask until it holds; fail when it does not in time."""
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)
