"""A server that speaks the protocol by hand, so that it can also speak it wrongly."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import numpy as np

from tests.fakes import MemoryBroker
from wire_protocol.blobs import BlobRef, Block, BlockList, Need
from wire_protocol.codecs import codec_named
from wire_protocol.cutting import Listing
from wire_protocol.errors import Reason
from wire_protocol.framing import expect, frame
from wire_protocol.link import Received
from wire_protocol.manifest import Manifest
from wire_protocol.messages import (
    ClientUpdate,
    DeltaRef,
    ModelDelta,
    RoundOffer,
    ServerInfo,
    TrainingPlan,
    UpdateReceipt,
)
from wire_protocol.params import Vector, params_digest
from wire_protocol.topics import Topics
from wire_protocol.transfer import (
    Assembly,
    blob_ref,
    cut,
    transfer_id,
    wanted_blocks,
)

BLOCK_BYTES = 4096
RESEND_S = 0.05
TOPICS = Topics("home")


class ScriptedServer:
    """Offers rounds of one artifact and collects updates."""

    def __init__(self, broker: MemoryBroker, artifact: Path) -> None:
        self.broker = broker
        self.manifest = Manifest.from_json((artifact / "manifest.json").read_bytes())
        self.params = self.manifest.layout.initial(np.random.default_rng(1))
        self.version = 0
        self.blobs: dict[str, bytes] = {}
        self.needs: list[str] = []
        self.transfers: list[str] = []
        self.updates: asyncio.Queue[tuple[str, str, ClientUpdate, Vector]] = (
            asyncio.Queue()
        )
        self.manifest_ref = self.put((artifact / "manifest.json").read_bytes())
        for name in self.manifest.files:
            self.put((artifact / name).read_bytes())
        self._deltas: list[DeltaRef] = []
        self._link = broker.link()
        self._assemblies: dict[str, Assembly] = {}

    @asynccontextmanager
    async def running(self) -> AsyncIterator["ScriptedServer"]:
        """Publish the server's info and answer needs until the block ends."""
        for rest in ("need", "evt", "info"):
            await self._link.subscribe(TOPICS.device("+", rest))
        for topic_filter in ("up/+/m", "up/+/b/+"):
            await self._link.subscribe(TOPICS.device("+", topic_filter))
        await self.inform()
        task = asyncio.create_task(self._listen())
        try:
            yield self
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def inform(self) -> None:
        """Publish ``server_info``."""
        info = ServerInfo(BLOCK_BYTES, 8, self.manifest.name, RESEND_S)
        await self.say(TOPICS.server_info, frame(info), retain=True)

    def put(self, blob: bytes) -> BlobRef:
        """Keep a blob for devices that need it."""
        ref = blob_ref(blob)
        self.blobs[ref.sha256] = blob
        return ref

    def advance(self, step: Vector, *, codec: str = "uq:1") -> None:
        """Make the next version, as a delta."""
        payload = codec_named(codec).encode(step)
        self.params = self.params + codec_named(codec).decode(payload, step.size)
        self.version += 1
        delta = frame(ModelDelta(self.version, codec), payload)
        self._deltas.append(DeltaRef(self.version, self.put(delta)))

    def offer(self, number: int, *, devices: tuple[str, ...] = ("a",)) -> RoundOffer:
        """Return an offer of the current version."""
        return RoundOffer(
            round=number,
            version=self.version,
            params=params_digest(self.params),
            layout=self.manifest.layout.digest,
            manifest=self.manifest_ref,
            keyframe=self.put(self.params.astype("<f4").tobytes()),
            deltas=tuple(self._deltas),
            plan=TrainingPlan(
                epochs=2,
                learning_rate=0.05,
                momentum=0.9,
                mu=0.0,
                evaluate=True,
                seed=7,
            ),
            codec="uq",
            cohort=devices,
            budget_s=60.0,
            max_staleness=0,
        )

    async def open(self, offer: RoundOffer) -> None:
        """Publish an offer, retained."""
        await self.say(TOPICS.round(offer.round), frame(offer), retain=True)

    async def close(self, number: int) -> None:
        """Withdraw the offer of a round."""
        await self.say(TOPICS.round(number), b"", retain=True)

    async def update(self) -> tuple[str, str, ClientUpdate, Vector]:
        """Wait for a whole update: device, transfer, head, delta."""
        async with asyncio.timeout(20):
            return await self.updates.get()

    async def receipt(
        self, number: int, transfer: str, *, reason: Reason, device: str = "a"
    ) -> None:
        """Answer an update."""
        topic = TOPICS.device(device, "cmd", "receipt")
        await self.say(topic, frame(UpdateReceipt(number, transfer, reason)))

    async def say(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Publish anything."""
        await self._link.publish(topic, payload, retain=retain)

    async def _listen(self) -> None:
        async for event in self._link.events():
            if not isinstance(event, Received):
                continue
            match TOPICS.levels(event.topic):
                case ("d", _, "need"):
                    await self._serve(expect(Need, event.payload)[0])
                case ("d", device, "up", _, "m"):
                    head, _ = expect(BlockList, event.payload)
                    need = frame(Need(head.blob, "f" * 16))
                    await self.say(TOPICS.device(device, "cmd", "need"), need)
                case ("d", device, "up", transfer, "b", _):
                    block, body = expect(Block, event.payload)
                    self._collect(device, transfer, block, body)

    async def _serve(self, need: Need) -> None:
        self.needs.append(need.blob.sha256)
        blob = self.blobs.get(need.blob.sha256)
        if blob is None:
            return
        if need.hashes:
            listing = Listing.of(blob, block_bytes=BLOCK_BYTES)
            await self.say(TOPICS.block_list(need.blob.sha256), listing.frame)
        _, frames = cut(blob, block_bytes=BLOCK_BYTES)
        for index in wanted_blocks(need.wanted, count=len(frames)):
            await self.say(TOPICS.blocks(need.blob.sha256, index), frames[index])

    def _collect(self, device: str, transfer: str, block: Block, body: bytes) -> None:
        assembly = self._assemblies.setdefault(
            transfer, Assembly(block.blob, block_bytes=BLOCK_BYTES, max_bytes=1 << 20)
        )
        blob = assembly.add(block, body)
        if blob is None:
            return
        assert transfer == transfer_id(block.blob)
        del self._assemblies[transfer]
        head, payload = expect(ClientUpdate, blob)
        self.transfers.append(transfer)
        delta = codec_named(head.codec).decode(payload, self.params.size)
        self.updates.put_nowait((device, transfer, head, delta))
