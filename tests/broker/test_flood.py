"""A flood of messages: what may wait is bounded, the rest is lost and counted."""

import asyncio

import pytest

from wire_protocol.link import LinkSettings, Received
from wire_protocol.mqtt import MqttLink


@pytest.mark.broker
@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_what_may_not_wait_is_counted_and_the_link_goes_on(
    broker_port: int, protocol: str
) -> None:
    async def test() -> None:
        name = f"flood/{protocol}"
        small = LinkSettings(
            "127.0.0.1",
            broker_port,
            identity=f"flooded-{protocol}",
            protocol="5" if protocol == "5" else "3.1.1",
            max_backlog_bytes=8000,
        )
        peer_settings = LinkSettings("127.0.0.1", broker_port, identity="flood")
        async with (
            MqttLink(peer_settings, fail_fast=True) as peer,
            MqttLink(small, fail_fast=True) as link,
            asyncio.timeout(20),
        ):
            await link.subscribe(name)
            events = link.events()
            sizes = []
            for size in (7500, 100, 7500, 6000, 200):
                await peer.publish(name, bytes(size))
                if size < 7500:  # what was taken before waits no more
                    async for event in events:
                        if isinstance(event, Received):
                            sizes.append(len(event.payload))
                            break
            assert sizes == [100, 6000, 200]
            assert link.flood_dropped == 2

    asyncio.run(test())
