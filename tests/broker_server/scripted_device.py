"""A device that speaks the protocol by hand, so that it can also speak it wrongly."""

import asyncio

import numpy as np

from wire_protocol.blobs import BlobRef, Block, Need
from wire_protocol.codecs import codec_named
from wire_protocol.cutting import Listing
from wire_protocol.envelope import Seal, as_it_is
from wire_protocol.feature_statistics import FeatureStatistics
from wire_protocol.framing import expect, frame
from wire_protocol.link import Connected, Link, LinkEvent, Received
from wire_protocol.messages import (
    Abandoned,
    CheckIn,
    ClientUpdate,
    Evaluation,
    ModelDelta,
    RoundOffer,
    UpdateReceipt,
)
from wire_protocol.params import Vector, params_digest
from wire_protocol.topics import Topics
from wire_protocol.transfer import Assembly, cut, transfer_id

PATIENCE_S = 10.0


def update_of(offer: RoundOffer, *, examples: int = 10) -> ClientUpdate:
    """Return the head of a good update."""
    return ClientUpdate(
        round=offer.round,
        base=offer.params[:16],
        layout=offer.layout,
        codec=offer.codec,
        num_examples=examples,
        steps=3,
        loss=0.5,
        train_s=0.01,
        bytes_down=100,
        evaluation=Evaluation(examples=4, loss_sum=2.0, metric_sum=3.0),
    )


ALL_BLOCKS = "f" * 16


class ScriptedDevice:
    """One device on one link; every call waits for what it needs and no longer."""

    def __init__(
        self,
        name: str,
        link: Link,
        *,
        fleet: str,
        block_bytes: int,
        seal: Seal = as_it_is,
    ) -> None:
        self.name = name
        self._seal = seal
        self.held: Vector = np.zeros(0, np.float32)
        self.version = -1
        self._link = link
        self._topics = Topics(fleet)
        self._block_bytes = block_bytes
        self._events = link.events()
        self._kept: list[Received] = []

    async def join(self, *, statistics: FeatureStatistics | None = None) -> None:
        """Subscribe, say online, and check in."""
        async with asyncio.timeout(PATIENCE_S):
            while not isinstance(await anext(self._events), Connected):
                pass
        await self._link.subscribe(self._topics.round("+"))
        await self._link.subscribe(self._topics.device(self.name, "cmd", "receipt"))
        await self.say("availability", b"online", retain=True)
        await self.check_in(conn=1, statistics=statistics)

    async def check_in(
        self, *, conn: int, statistics: FeatureStatistics | None = None
    ) -> None:
        """Publish a check-in."""
        check_in = CheckIn(
            conn, "scripted 1", "tflite", ("uq", "f32"), 10, statistics=statistics
        )
        await self.say("info", frame(check_in), retain=True)

    async def say(self, rest: str, payload: bytes, *, retain: bool = False) -> None:
        """Publish on one of the device's own topics."""
        await self._link.publish(
            self._topics.device(self.name, rest), payload, retain=retain
        )

    async def offer(self, number: int) -> RoundOffer:
        """Wait for the offer of round ``number``."""
        while True:
            heard = await self.hear(self._topics.round(number))
            if heard:
                return expect(RoundOffer, heard)[0]

    async def invited(self, number: int) -> RoundOffer:
        """Wait until round ``number`` is offered to this device too."""
        while self.name not in (offer := await self.offer(number)).cohort:
            pass
        return offer

    async def closing(self, number: int) -> None:
        """Wait until round ``number`` is cleared."""
        while await self.hear(self._topics.round(number)):
            pass

    async def receipt(self) -> UpdateReceipt:
        """Wait for a receipt."""
        heard = await self.hear(self._topics.device(self.name, "cmd", "receipt"))
        return expect(UpdateReceipt, heard)[0]

    async def hear(self, topic: str) -> bytes:
        """Wait for a message on ``topic``; others are kept for later."""
        for index, kept in enumerate(self._kept):
            if kept.topic == topic:
                return self._kept.pop(index).payload
        async with asyncio.timeout(PATIENCE_S):
            while True:
                event: LinkEvent = await anext(self._events)
                if isinstance(event, Received):
                    if event.topic == topic:
                        return event.payload
                    self._kept.append(event)

    async def fetch(self, ref: BlobRef) -> bytes:
        """Fetch a blob, as the protocol says."""
        await self._link.subscribe(self._topics.blocks(ref.sha256))
        await self.say("need", frame(Need(ref, ALL_BLOCKS)))
        assembly = Assembly(ref, block_bytes=self._block_bytes, max_bytes=1 << 26)
        blob = None
        index = 0
        while blob is None:
            raw = await self.hear(self._topics.blocks(ref.sha256, index))
            blob = assembly.add(*expect(Block, raw))
            index += 1
        await self._link.unsubscribe(self._topics.blocks(ref.sha256))
        return blob

    async def follow(self, offer: RoundOffer) -> None:
        """Bring the held parameters to the offer's version."""
        listed = [ref for ref in offer.deltas if ref.version > self.version]
        if self.version >= 0 and len(listed) == offer.version - self.version:
            for ref in listed:
                head, body = expect(ModelDelta, await self.fetch(ref.blob))
                step = codec_named(head.codec).decode(body, self.held.size)
                self.held = self.held + step
        else:
            self.held = np.frombuffer(await self.fetch(offer.keyframe), "<f4")
        self.version = offer.version
        assert params_digest(self.held) == offer.params

    async def send(
        self, update: ClientUpdate, delta: Vector, *, codec: str = ""
    ) -> str:
        """Publish an update; return its transfer."""
        body = codec_named(codec or update.codec).encode(delta)
        sealed = self._seal(self._topics.device(self.name, "up"), frame(update, body))
        return await self.send_blob(sealed)

    async def send_blob(self, blob: bytes) -> str:
        """Publish any blob as if it were an update."""
        ref, blocks = cut(blob, block_bytes=self._block_bytes)
        if len(blocks) > 1:  # and then it does not wait to be asked
            listing = Listing.of(blob, block_bytes=self._block_bytes)
            await self.say(f"up/{transfer_id(ref)}/m", listing.frame)
        for index, payload in enumerate(blocks):
            await self.say(f"up/{transfer_id(ref)}/b/{index}", payload)
        return transfer_id(ref)

    async def abandon(self, message: Abandoned) -> None:
        """Say that no update will come."""
        await self.say("evt", frame(message))
