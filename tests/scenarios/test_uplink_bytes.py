"""What a device sends, counted twice: by its own kernel, and by a proxy in between."""

import asyncio
import contextlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from broker_server.store import Store
from model_zoo import zoo
from model_zoo.data.federation import Shard
from tests.broker.proxy import CountingProxy
from tools.demo.display import PlainDisplay
from tools.demo.federation_run import Watched, run_federation
from tools.demo.plan import DemoPlan
from tools.demo.workspace import Workspace

pytestmark = pytest.mark.slow

MODEL = "har-cnn1d"
ROUNDS = 10
FAREWELL_BYTES = 600
"""What a device may send after its last telemetry: the end of a connection."""


def _shard(name: str, seed: int) -> Shard:
    """Make windows of five movements: a wave of its own each, with noise."""
    manifest = zoo.manifest(MODEL)
    rng = np.random.default_rng(seed)
    y = rng.integers(manifest.outputs, size=96).astype(np.int32)
    time = np.linspace(0, 1, manifest.input_shape[0])[None, :, None]
    wave = np.sin(2 * np.pi * (1 + y[:, None, None]) * time + rng.uniform(0, 6))
    noise = rng.normal(size=(len(y), *manifest.input_shape))
    return Shard(name, (5 * wave + 3 * noise).astype(np.float32), y)


async def _run(folder: Path) -> tuple[Watched, dict[str, CountingProxy], Workspace]:
    shards = [_shard("litert-device", 1), _shard("onnx-device", 2)]
    workspace = Workspace.create(folder, shards, runtimes=["litert", "onnxruntime"])
    plan = replace(DemoPlan.suited("waves", zoo.model(MODEL)), rounds=ROUNDS, epochs=1)
    async with contextlib.AsyncExitStack() as stack:
        proxies = {}

        async def proxied(device: str, port: int) -> int:
            proxy = await stack.enter_async_context(CountingProxy(port))
            proxies[device] = proxy
            return proxy.port

        watched = await run_federation(
            workspace,
            plan,
            display=PlainDisplay(lambda _: None),
            on_version=lambda _: None,
            broker_kind="auto",
            device_port=proxied,
        )
    return watched, proxies, workspace


def test_devices_count_what_a_proxy_counts_and_send_under_two_bits_a_parameter(
    tmp_path: Path,
) -> None:
    watched, proxies, workspace = asyncio.run(_run(tmp_path / "run"))
    parameters = zoo.manifest(MODEL).layout.size
    for name, proxy in proxies.items():
        device = watched.fleet.devices[name]
        assert proxy.up - FAREWELL_BYTES <= device.bytes_sent <= proxy.up
        assert device.bytes_received <= proxy.down
        assert device.bytes_received == pytest.approx(proxy.down, rel=0.02)
        assert 8 * proxy.up <= 2.0 * parameters * ROUNDS
    with Store.open(workspace.server_state, readonly=True) as store:
        records = store.rounds()
    for record in records:
        for one in record.participants:
            assert 8 * one.bytes_up <= 1.3 * parameters
