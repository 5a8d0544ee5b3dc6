"""Before the first round the server scales a model's inputs, by what devices tell."""

import asyncio
import json
from pathlib import Path

import numpy as np
import pytest

from broker_server.config import CodecSection, RoundSection
from tests.broker_server.scripted_device import ScriptedDevice, update_of
from tests.broker_server.small_server import TOPICS, SmallServer, small_server
from wire_protocol.feature_statistics import FeatureStatistics, feature_statistics
from wire_protocol.framing import expect
from wire_protocol.messages import RoundOffer, ServerInfo
from wire_protocol.params import ParamLayout, ParamSpec, Vector

CHANNELS = 3
LAYOUT = ParamLayout(
    (
        ParamSpec("mean", (CHANNELS,), "feature_mean", trainable=False),
        ParamSpec("scale", (CHANNELS,), "feature_scale", trainable=False),
        ParamSpec("w", (4, 3), "uniform", 0.5),
        ParamSpec("head", (5,), "ones", personal=True),
    )
)
TWO = RoundSection(rounds=2, devices=2)
F32 = CodecSection(uplink="f32", downlink="f32")


def examples(seed: int) -> Vector:
    rng = np.random.default_rng(seed)
    x = rng.normal((230.0, -4.0, 0.001), (2.0, 0.1, 1e-5), (40 + seed, 7, CHANNELS))
    return x.astype(np.float32)


def told(seed: int) -> FeatureStatistics:
    found = feature_statistics(examples(seed))
    assert found is not None
    return found


def wanted(server: SmallServer) -> int:
    payload = server.broker.retained[TOPICS.server_info]
    return expect(ServerInfo, payload)[0].channels


async def rounds(*devices: ScriptedDevice, first: int, last: int) -> RoundOffer:
    for number in range(first, last + 1):
        for device in devices:
            offer = await device.offer(number)
            await device.follow(offer)
            delta = np.full(LAYOUT.federated.size, 0.5, np.float32)
            await device.send(update_of(offer), delta)
            await device.receipt()
    return offer


def test_the_first_version_holds_the_fleets_mean_and_scale(tmp_path: Path) -> None:
    async def rehearse() -> None:
        async with small_server(
            tmp_path, rounds=TWO, codec=F32, layout=LAYOUT
        ) as server:
            assert wanted(server) == CHANNELS
            devices = [
                await server.device(name, statistics=told(seed))
                for seed, name in enumerate("ab")
            ]
            await rounds(*devices, first=1, last=2)
            await server.ended()
            assert wanted(server) == 0
            both = np.concatenate([examples(0), examples(1)]).reshape(-1, CHANNELS)
            before, after = (
                dict(zip("mshp", LAYOUT.split(server.store.params(v)), strict=True))
                for v in (0, 2)
            )
            np.testing.assert_allclose(before["m"], both.mean(0), rtol=1e-5)
            np.testing.assert_allclose(before["s"], 1 / both.std(0), rtol=1e-2)
            # what devices do not send stays, to the bit
            for kept in "msp":
                assert np.array_equal(before[kept], after[kept])
            np.testing.assert_allclose(after["h"] - before["h"], 1.25, atol=1e-6)

    asyncio.run(rehearse())


def test_it_waits_for_devices_that_tell(tmp_path: Path) -> None:
    async def rehearse() -> None:
        async with small_server(tmp_path, rounds=TWO, layout=LAYOUT) as server:
            first = await server.device("a", statistics=told(0))
            silent = await server.device("b")
            other = await server.device(
                "c", statistics=FeatureStatistics(9, (1.0,), (1.0,))
            )
            while len(server.store.devices()) < 3:  # noqa: ASYNC110 - it is not told
                await asyncio.sleep(0)
            assert shown(server)["round"] == 0
            await silent.check_in(conn=2, statistics=told(1))
            offer = await rounds(first, silent, first=1, last=1)
            assert set(offer.cohort) == {"a", "b"}
            # statistics are asked for once: from now on everybody may join
            assert "c" in (await other.invited(2)).cohort
            server.stop.set()

    asyncio.run(rehearse())


@pytest.mark.parametrize("begun", [False, True])
def test_a_server_that_died_begins_with_the_same_scale(
    tmp_path: Path, begun: bool
) -> None:
    async def rehearse() -> None:
        async with small_server(tmp_path, rounds=TWO, layout=LAYOUT) as server:
            devices = [await server.device("a", statistics=told(0))]
            if begun:
                devices.append(await server.device("b", statistics=told(1)))
                await devices[0].offer(1)
                before = server.store.params(0)
            broker = server.broker
            await server.kill()
        async with small_server(
            tmp_path, rounds=TWO, layout=LAYOUT, broker=broker
        ) as server:
            assert wanted(server) == (0 if begun else CHANNELS)
            if begun:
                assert np.array_equal(server.store.params(0), before)
            else:
                await server.device("b", statistics=told(1))
                await devices[0].offer(1)
                (mean, *_) = LAYOUT.split(server.store.params(0))
                assert mean[0] == pytest.approx(230, abs=1)
            server.stop.set()

    asyncio.run(rehearse())


def shown(server: SmallServer) -> dict[str, object]:
    state = json.loads(server.broker.retained[TOPICS.server_state])
    assert isinstance(state, dict)
    return state
