"""Targets of both sides: whatever the broker delivers to a server, or to a device."""

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from broker_server.acceptance import RefusedUpdateError, Terms, accept, head_of
from broker_server.intake import Intake
from broker_server.outlets import Memory, Outlets
from broker_server.uplink import Uplink, max_update_bytes
from edge_agent.inbox import receipt_event, round_event
from edge_agent.model import with_delta
from edge_agent.session import Idle, State, step
from edge_agent.sources.json_path import parse_path
from edge_agent.sources.readings import json_of, rows_of, text_of
from tools.fuzz.messages import (
    BLOCKS,
    CHECK_IN,
    DELTA,
    DELTA_FRAME,
    DEVICES,
    FRAMES,
    LISTING,
    OFFER,
    REF,
    SIZE,
    UPDATE,
    UPDATE_FRAME,
)
from tools.fuzz.shapes import FRAME, JSON, MESSAGE
from tools.fuzz.target import Entry, Target, always
from wire_protocol.blobs import Need
from wire_protocol.codecs import codec_named
from wire_protocol.cutting import cut, transfer_id
from wire_protocol.errors import DecodeError, Reason
from wire_protocol.framing import expect, frame
from wire_protocol.messages import Abandoned, ServerInfo, UpdateReceipt
from wire_protocol.topics import Topics

TOPICS: Final = Topics("home")


# --- the server's intake ------------------------------------------------------------


def _unknown(_number: int) -> Terms:
    raise RefusedUpdateError("no such round", reason=Reason.WRONG_ROUND)


def _listening(folder: Path) -> Entry:
    """Return the ear of a server that has an open round, and two devices."""
    answers: list[UpdateReceipt] = []
    uplink = Uplink(
        folder / "uploads",
        window=4,
        max_bytes=max_update_bytes(SIZE),
        admits=lambda device: device in intake.registry.devices,
    )
    intake = Intake(
        TOPICS,
        Outlets(
            answer=lambda _device, receipt: answers.append(receipt),
            withdraw=lambda _number: None,
            ask=lambda _device, _need: None,
            need=lambda _device, _need: None,
            note_device=lambda _device, _check_in: None,
        ),
        memory=Memory(
            receipt=lambda _device, _transfer: None,
            last_receipt=lambda _device: None,
            accepted=lambda _number, _device: False,
            terms=_unknown,
        ),
        uplink=uplink,
        size=SIZE,
    )
    for device in DEVICES:
        intake.receive(TOPICS.device(device, "availability"), b"online")
    intake.open(OFFER)

    def hear(raw: bytes) -> str:
        """Whatever comes on whatever topic; nothing may be raised at all."""
        topic, _, payload = raw.partition(b"\0")
        event = intake.receive(topic.decode("utf-8", "surrogateescape"), payload)
        assert sum(intake.refused.values()) <= 1
        refused = intake.take_refused()
        intake.tidy_up()
        answers.clear()
        return f"{type(event).__name__} {[*refused]}"

    return hear


def _message(device: str, rest: str, payload: bytes) -> bytes:
    return TOPICS.device(device, rest).encode() + b"\0" + payload


def _heard() -> tuple[bytes, ...]:
    """Return messages that a server hears."""
    first, second = DEVICES
    small, (single,) = cut(UPDATE_FRAME, block_bytes=1024)
    large = LISTING.head.blob
    return (
        _message(first, "availability", b"online"),
        _message(first, "availability", b"offline"),
        _message(first, "info", frame(CHECK_IN)),
        _message(second, "info", FRAMES[2]),
        _message(first, "need", frame(Need(REF, "5", hashes=True))),
        _message(second, "evt", frame(Abandoned(OFFER.round, Reason.TOO_HOT))),
        _message(first, f"up/{transfer_id(small)}/b/0", single),
        _message(second, f"up/{transfer_id(large)}/m", LISTING.frame),
        *(
            _message(second, f"up/{transfer_id(large)}/b/{index}", block)
            for index, block in enumerate(BLOCKS)
        ),
        f"{TOPICS.round(7)}\0".encode() + frame(replace(OFFER, round=7)),
    )


def judge_update(raw: bytes) -> None:
    """Judge a whole update by the terms of the open round."""
    head, body = head_of(raw)
    terms = Terms.of(OFFER)
    accept(terms, head, body=body, device=DEVICES[0], size=SIZE)
    assert head.round == OFFER.round


# --- the device ---------------------------------------------------------------------


def _taking_part(_folder: Path) -> Entry:
    state: State = Idle()
    params = np.zeros(SIZE, np.float32)

    def hear(raw: bytes) -> str:
        """Take a message as the agent's service does, and let its machine step."""
        nonlocal state
        topic, _, payload = raw.partition(b"\0")
        match TOPICS.levels(topic.decode("utf-8", "surrogateescape")):
            case ("round", level):
                event = round_event(level, payload, device=DEVICES[0])
                state, _ = step(state, event)
            case ("d", _, "cmd", "receipt"):
                state, _ = step(state, receipt_event(payload))
            case ("d", _, "cmd", "need"):
                expect(Need, payload)
            case ("server", "info"):
                expect(ServerInfo, payload)
            case ("blob", *_):
                changed = with_delta(params, payload, version=2)
                assert np.isfinite(changed).all()
            case _:
                pass
        return type(state).__name__

    return hear


_TOLD: Final = tuple(
    topic.encode() + b"\0" + payload
    for topic, payload in (
        (TOPICS.round(3), FRAMES[3]),
        (TOPICS.round(4), frame(replace(OFFER, round=4, version=3))),
        (TOPICS.round(3), b""),
        (TOPICS.device(DEVICES[0], "cmd", "receipt"), FRAMES[10]),
        (TOPICS.device(DEVICES[0], "cmd", "need"), FRAMES[4]),
        (TOPICS.server_info, FRAMES[0]),
        (TOPICS.blocks("09" * 32, 0), DELTA_FRAME),
    )
)

_PATHS: Final = tuple(
    tuple(parse_path(path) for path in paths)
    for paths in (("$",), ("$.x", "$.y[0]"), ("$.samples[*].x", "$.samples[*].y"))
)


def read_sensor(raw: bytes) -> None:
    """Read a sensor's message by several paths, and as a label."""
    value = json_of(raw)
    for paths in _PATHS:
        for row in itertools.islice(rows_of(value, paths), 10):
            assert len(row) == len(paths)
    assert text_of(value) != ""


SIDE_TARGETS: Final = (
    Target(
        "what a server hears",
        "intake",
        _heard(),
        _listening,
        typed=(),
        shape=MESSAGE,
        share=3,
        bytes_more=2 << 20,
    ),
    Target(
        "client updates",
        "intake",
        (
            UPDATE_FRAME,
            frame(replace(UPDATE, evaluation=None), codec_named("uq:4").encode(DELTA)),
        ),
        always(judge_update),
        shape=FRAME,
        share=1,
    ),
    Target(
        "what a device hears",
        "device",
        _TOLD,
        _taking_part,
        shape=MESSAGE,
        share=2,
    ),
    Target(
        "sensor messages",
        "device",
        (
            b"21.5",
            b'"on"',
            b'{"x": 1, "y": [2, 3]}',
            b'{"samples": [{"x": 1, "y": 2}, {"x": 3, "y": null}]}',
        ),
        always(read_sensor),
        typed=(DecodeError,),
        shape=JSON,
    ),
)
