"""Sending: the update until its receipt comes, and the small notes for people."""

import asyncio
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from wire_protocol.errors import TransportError
from wire_protocol.link import Link
from wire_protocol.messages import ServerInfo
from wire_protocol.topics import Topics
from wire_protocol.transfer import cut, transfer_id

MAX_RESEND_S: Final = 60.0
_STATM: Final = Path("/proc/self/statm")


async def send_until_cancelled(
    link: Link,
    update: bytes,
    *,
    topics: Topics,
    device: str,
    info: ServerInfo,
    jitter: Callable[[], float],
) -> None:
    """Publish the update's blocks, and again at growing intervals, for ever.

    PUBACK is the broker's word, not the server's: only a receipt ends this, and it
    does so by cancelling the call.
    """
    ref, frames = cut(update, block_bytes=info.block_bytes)
    transfer = transfer_id(ref)
    interval_s = info.resend_s
    while True:
        try:
            for index, block in enumerate(frames):
                topic = topics.device(device, "up", transfer, "b", str(index))
                await link.publish(topic, block)
        except TransportError:
            interval_s = info.resend_s  # nothing arrived, so nobody is overloaded
        await asyncio.sleep(interval_s * (0.75 + jitter() / 2))
        interval_s = min(2 * interval_s, MAX_RESEND_S)


def state_note(phase: str, *, round_id: int | None) -> bytes:
    """Return the payload of ``state``: what the device does now."""
    note: dict[str, object] = {"phase": phase}
    if round_id is not None:
        note["round"] = round_id
    return _json(note)


def telemetry_note(link: Link, *, round_id: int | None, written_bytes: int) -> bytes:
    """Return the payload of ``telemetry``: bytes so far, on socket and disk; memory."""
    traffic = link.traffic
    note: dict[str, object] = {
        "bytes_up": traffic.bytes_sent,
        "bytes_down": traffic.bytes_received,
        "written_bytes": written_bytes,
        "rss_mib": rss_mib(),
    }
    if round_id is not None:
        note["round"] = round_id
    return _json(note)


def rss_mib() -> float:
    """Return this process's resident memory; 0 where the system does not tell."""
    try:
        pages = int(_STATM.read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return 0.0
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 2**20, 1)


def _json(note: dict[str, object]) -> bytes:
    return json.dumps(note, separators=(",", ":")).encode()
