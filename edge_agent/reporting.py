"""Reporting: the small notes for people. The update itself is sent by ``sending``."""

import json
import os
from pathlib import Path
from typing import Final

from wire_protocol.link import Link

_STATM: Final = Path("/proc/self/statm")


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
