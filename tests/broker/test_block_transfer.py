"""Blocks through a real broker: within its limit, once for all, and never all again."""

import asyncio
import random
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.broker.broker_fixtures import Mosquitto
from tests.broker.proxy import CountingProxy
from tests.broker.transfers import (
    WINDOW,
    DeviceEnd,
    ServerEnd,
    device_end,
    linked,
    server_end,
    until_blocks,
)
from wire_protocol.blobs import BlobRef
from wire_protocol.cutting import blob_ref, block_count
from wire_protocol.link import Link

pytestmark = pytest.mark.broker

ROOT = Path(__file__).parents[2]
BLOCK = 32_768
BLOB = random.Random(1).randbytes(3_000_000)
REF = blob_ref(BLOB)
COUNT = block_count(len(BLOB), block_bytes=BLOCK)
AGAIN = (WINDOW + 1) * BLOCK
"""What may be sent again after a cut or a kill, in bytes on the wire."""


def run(test: Coroutine[Any, Any, None]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(60):
            await test

    asyncio.run(limited())


@asynccontextmanager
async def ends(
    port: int, folder: Path, *, block_bytes: int = BLOCK
) -> AsyncIterator[tuple[ServerEnd, DeviceEnd, CountingProxy, CountingProxy, Link]]:
    """Return both ends, each behind a proxy of its own, and the server's link."""
    async with AsyncExitStack() as stack:
        before_server = await stack.enter_async_context(CountingProxy(port))
        before_device = await stack.enter_async_context(CountingProxy(port))
        link = await stack.enter_async_context(linked(before_server.port, "server"))
        server = await stack.enter_async_context(
            server_end(link, block_bytes=block_bytes, parts=folder / "up")
        )
        own = await stack.enter_async_context(linked(before_device.port, "device"))
        device = await stack.enter_async_context(
            device_end(own, "pi", parts=folder / "down")
        )
        server.distribution.offer({REF.sha256: BLOB})
        yield server, device, before_server, before_device, link


def test_a_broker_that_takes_128_kib_gets_no_more_either_way(tmp_path: Path) -> None:
    broker = Mosquitto(tmp_path, settings="\nmax_packet_size 131072\n")

    async def test() -> None:
        async with ends(broker.port, tmp_path, block_bytes=131_072) as (
            server,
            device,
            *_,
        ):
            assert await device.fetch(REF, server.info) == BLOB
            assert server.block_bytes == 131_072 - 1024
            sending = asyncio.create_task(device.sending(BLOB, server.info).run())
            assert await server.updates.get() == BLOB
            sending.cancel()
            # nobody was thrown off the broker, which is what it does to larger packets
            assert (server.connections, device.connections) == (1, 1)

    broker.start()
    try:
        run(test())
    finally:
        broker.kill()


@pytest.mark.parametrize("fault", ["nothing", "cut", "kill"])
def test_a_download_goes_on_where_it_was(
    broker_port: int, tmp_path: Path, fault: str
) -> None:
    async def test() -> None:
        async with ends(broker_port, tmp_path) as (server, device, _, proxy, _link):
            began = proxy.down
            fetching = asyncio.create_task(device.fetch(REF, server.info))
            if fault != "nothing":
                await until_blocks(device, COUNT // 2)
            if fault == "cut":
                proxy.cut()
            if fault == "kill":
                fetching.cancel()
                await asyncio.wait({fetching})
                device.restart()
                fetching = asyncio.create_task(device.fetch(REF, server.info))
            assert await fetching == BLOB
            came = proxy.down - began
            assert came <= len(BLOB) + COUNT * 512 + (fault != "nothing") * AGAIN
            assert not list((tmp_path / "down").iterdir())

    run(test())


def test_a_killed_process_that_is_started_again_goes_on_where_it_was(
    broker_port: int, tmp_path: Path
) -> None:
    async def start(port: int) -> asyncio.subprocess.Process:
        module = [sys.executable, "-m", "tests.broker.fetch_process"]
        blob = [REF.sha256, str(REF.size), str(BLOCK)]
        return await asyncio.create_subprocess_exec(
            *module, str(port), str(tmp_path / "parts"), *blob, stdout=PIPE, cwd=ROOT
        )

    async def test() -> None:
        async with ends(broker_port, tmp_path) as (server, *_):
            assert server.block_bytes == BLOCK
            async with CountingProxy(broker_port) as proxy:
                first = await start(proxy.port)
                await proxy.until_down(len(BLOB) // 2)
                first.kill()
                await first.wait()
                second = await start(proxy.port)
                told, _ = await second.communicate()
            assert told.decode() == REF.sha256
            assert proxy.down <= len(BLOB) + COUNT * 512 + AGAIN

    run(test())


@pytest.mark.parametrize("fault", ["nothing", "cut", "cut of the server", "kill"])
def test_an_upload_goes_on_where_it_was(
    broker_port: int, tmp_path: Path, fault: str
) -> None:
    async def test() -> None:
        async with ends(broker_port, tmp_path) as (server, device, far, proxy, _link):
            began = proxy.up
            sending = asyncio.create_task(device.sending(BLOB, server.info).run())
            if fault != "nothing":
                await until_blocks(server, COUNT // 2)
            if fault == "cut":
                proxy.cut()
            if fault == "cut of the server":
                far.cut()
            if fault == "kill":
                server.restart()
            assert await server.updates.get() == BLOB
            sending.cancel()
            sent = proxy.up - began
            assert sent <= len(BLOB) + COUNT * 512 + (fault != "nothing") * AGAIN

    run(test())


@pytest.mark.parametrize(
    "over_s",
    [
        pytest.param(0.0, id="at once", marks=pytest.mark.slow),
        pytest.param(1.2, id="one after the other", marks=pytest.mark.slow),
    ],
)
def test_a_blob_that_20_devices_want_costs_the_server_little_more_than_one(
    broker_port: int, tmp_path: Path, over_s: float
) -> None:
    blob = random.Random(2).randbytes(8_000_000)
    ref = blob_ref(blob)

    async def fetch(stack: AsyncExitStack, number: int, server: ServerEnd) -> None:
        name = f"many-{number}"
        link = await stack.enter_async_context(linked(broker_port, name))
        end = await stack.enter_async_context(
            device_end(link, name, parts=tmp_path / name)
        )
        await asyncio.sleep(over_s * number / 20)  # the staggered arrival itself
        assert await end.fetch(ref, server.info) == blob

    async def test() -> None:
        async with AsyncExitStack() as stack:
            link = await stack.enter_async_context(linked(broker_port, "server"))
            server = await stack.enter_async_context(
                server_end(link, block_bytes=BLOCK, parts=tmp_path / "up", resend_s=2.0)
            )
            server.distribution.offer({ref.sha256: blob})
            began = link.traffic.bytes_sent
            async with asyncio.TaskGroup() as group:
                for number in range(20):
                    group.create_task(fetch(stack, number, server))
            cost = (link.traffic.bytes_sent - began) / len(blob)
            assert cost <= 1.2

    run(test())


def test_blocks_that_the_broker_loses_are_repaired_singly(
    broker_port: int, tmp_path: Path
) -> None:
    async def test() -> None:
        async with ends(broker_port, tmp_path) as (server, device, *_):
            lost = {5, 40}
            pass_on = device.take

            def lossy(event: object) -> None:
                topic = getattr(event, "topic", "")
                index = topic.rpartition("/b/")[2]
                if index.isdecimal() and int(index) in lost:
                    lost.discard(int(index))
                    return
                pass_on(event)  # type: ignore[arg-type]

            device.take = lossy  # type: ignore[method-assign]
            assert await device.fetch(REF, server.info) == BLOB
            assert not lost
            asked = [need.wanted for need in server.needs]
            wanted = sum(int(one or "0", 16).bit_count() for one in asked)
            assert wanted == COUNT + 2

    run(test())


def test_a_small_blob_needs_one_need_and_no_list(
    broker_port: int, tmp_path: Path
) -> None:
    small = b"a small model" * 1000

    async def test() -> None:
        async with ends(broker_port, tmp_path) as (server, device, *_):
            ref: BlobRef = blob_ref(small)
            server.distribution.offer({ref.sha256: small})
            assert await device.fetch(ref, server.info) == small
            assert [(need.wanted, need.hashes) for need in server.needs] == [
                ("1", False)
            ]

    run(test())
