"""Targets of ``wire_protocol``: frames, codecs, blocks, manifests and topics."""

import io
import math
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Final

import numpy as np

from tools.fuzz.messages import (
    BLOB,
    BLOCK_BYTES,
    BLOCKS,
    FRAMES,
    LISTING,
    UPDATE_FRAME,
)
from tools.fuzz.shapes import FRAME, JSON
from tools.fuzz.target import Entry, Target, always
from wire_protocol.blobs import MAX_WINDOW, Block, BlockList, Need
from wire_protocol.codecs import CODECS, codec_named
from wire_protocol.cutting import Cut, Listing, wanted_blocks
from wire_protocol.entropy import Layer
from wire_protocol.errors import ConfigError, DecodeError, EncodeError
from wire_protocol.framing import frame, parse_frame
from wire_protocol.manifest import FileRef, Manifest, SelfTest
from wire_protocol.params import ParamLayout, ParamSpec
from wire_protocol.topics import Topics, check_name, round_number
from wire_protocol.transfer import Assembly
from wire_protocol.uniform_quantizer import CHUNK

SIZES: Final = (1, 7, 50, 256, 300, 4000)
"""Values of the vectors that are decoded; the first byte of an input picks one."""
LARGE: Final = CHUNK + 100


# --- frames -------------------------------------------------------------------------


def read_frame(raw: bytes) -> None:
    """Parse a frame; what can be read must come back as it was."""
    found = parse_frame(raw)
    again = parse_frame(frame(found.message, found.body))
    assert again.message == found.message
    assert again.body == found.body


# --- codecs -------------------------------------------------------------------------


def _decoding(name: str) -> Entry:
    codec = codec_named(name)

    def decode(raw: bytes) -> None:
        """Decode at once and, the same bytes from a file, chunk by chunk."""
        pick, payload = (raw[0] if raw else 0), raw[1:]
        size = LARGE if pick == 255 else SIZES[pick % len(SIZES)]
        vector = codec.decode(payload, size)
        assert vector.shape == (size,)
        assert np.isfinite(vector).all()
        chunks = codec.chunks(io.BytesIO(payload), size)
        for start, chunk in zip(range(0, size, CHUNK), chunks, strict=True):
            assert np.array_equal(chunk, vector[start : start + CHUNK])

    return decode


def _encoded(name: str) -> tuple[bytes, ...]:
    """Return valid payloads of codec ``name``, each after the byte of its size."""
    rng = np.random.default_rng(0)
    found = []
    for pick, size in [*enumerate(SIZES), (255, LARGE)]:
        for scale in (0.0, 0.01, 100.0):
            drawn = (rng.standard_t(3, size) * scale).astype(np.float32)
            found.append(bytes([pick]) + codec_named(name).encode(drawn))
    return tuple(found)


def layered(rng: Random) -> bytes:
    """Return a payload of ``uq``: layers that may each be right or wrong."""
    pick = rng.choice((*range(len(SIZES)), 255))
    size = LARGE if pick == 255 else SIZES[pick]
    step = rng.choice((0.0, 1e-45, 0.01, 1.0, 1e30, 3e38, float("nan"), float("inf")))
    parts = [bytes([pick]), struct.pack("<f", step)]
    for start in range(0, size, CHUNK):
        bits = min(CHUNK, size - start)
        for depth in range(rng.choice((1, 2, 3, 17, 18))):
            layer = rng.choice((*Layer, Layer.BITMAP, Layer.GAPS_HUFFMAN, 6))
            parts.append(bytes([layer]) + _layer(layer, bits, rng))
            if depth == 0:
                parts.append(rng.randbytes(-(-bits // 8)))
        parts.append(bytes([Layer.DONE]))
    return b"".join(parts)


def _layer(layer: int, bits: int, rng: Random) -> bytes:
    """Return the bytes of a layer over ``bits`` values, or something like them."""
    if layer in (Layer.DONE, 6):
        return b""
    bitmap = layer in (Layer.BITMAP, Layer.BITMAP_HUFFMAN)
    length = max(0, -(-bits // (8 if bitmap else 1)) + rng.choice((0, 0, 0, -1, 1)))
    plain = rng.choice((bytes(length), b"\xff" * length, rng.randbytes(length)))
    if layer in (Layer.BITMAP, Layer.BYTES):
        return plain
    if rng.random() < 0.1:
        plain = bytes(1 << 20)  # a bomb
    deflate = zlib.compressobj(1, zlib.DEFLATED, -15)
    body = (deflate.compress(plain) + deflate.flush())[:0xFFFF]
    return struct.pack("<H", len(body)) + body


# --- blocks -------------------------------------------------------------------------


def _assembly() -> Assembly:
    ref = LISTING.head.blob
    return Assembly(ref, block_bytes=BLOCK_BYTES, max_bytes=ref.size)


def _receiving(_folder: Path) -> Entry:
    assembly = _assembly()

    def receive(raw: bytes) -> None:
        """Hand a frame to an assembly, as both sides do; what is whole is right."""
        nonlocal assembly
        parsed = parse_frame(raw)
        match parsed.message:
            case Block():
                if assembly.put(parsed.message, parsed.body):
                    assert assembly.content() == BLOB
                    assembly = _assembly()
            case BlockList():
                assembly.take_list(Listing(parsed.message, parsed.body))
            case Need():
                count = assembly.cut.count
                wanted = wanted_blocks(parsed.message.wanted, count=count)
                assert len(wanted) <= MAX_WINDOW
            case _:
                pass
        assert len(assembly.ask(8)) <= 8

    return receive


def read_listing(raw: bytes) -> None:
    """Read a list of hashes of any blob."""
    parsed = parse_frame(raw)
    if isinstance(parsed.message, BlockList):
        listing = Listing(parsed.message, parsed.body)
        assert listing.cut.count <= len(listing.group(0)) * (len(parsed.body) // 32)
        Cut(parsed.message.blob.size, parsed.message.block_bytes)


# --- manifests and topics -----------------------------------------------------------


def example_manifest() -> bytes:
    """Return a manifest in which everything occurs."""
    layout = ParamLayout(
        (
            ParamSpec("mean", (3,), "feature_mean", trainable=False),
            ParamSpec("scale", (3,), "feature_scale", trainable=False),
            ParamSpec("w", (3, 2), "uniform", 0.5),
            ParamSpec("b", (2,), personal=True),
        )
    )
    test = SelfTest((0.7, 0.6), (0.0, 1.7, 0.9, 0.1), 0.5, 0.1, 0.9, 0.0, 1e-3)
    manifest = Manifest(
        name="small",
        task="classification",
        input_shape=(3,),
        outputs=2,
        batch=8,
        layout=layout,
        files={"model.tflite": FileRef(100, "ab" * 32)},
        selftest=test,
        labels=("off", "on"),
    )
    return manifest.to_json()


def read_manifest(raw: bytes) -> None:
    """Parse a manifest; what can be read must come back as it was."""
    found = Manifest.from_json(raw)
    assert found.layout.federated.size > 0
    assert len(found.layout.digest) == 16
    test = found.selftest
    steps = (test.eval_loss, test.learning_rate, test.momentum, test.mu, test.tolerance)
    if all(map(math.isfinite, (*test.losses, *test.norms, *steps))):
        assert Manifest.from_json(found.to_json()) == found


def read_topic(raw: bytes) -> None:
    """Read a topic, its levels, and names in it."""
    text = raw.decode("utf-8", "surrogateescape")
    levels = Topics("home").levels(text)
    assert Topics("home").root + "/" + "/".join(levels) == text
    if levels[0] == "round":
        assert round_number(levels[-1]) >= 0
    elif levels[0] == "d":
        assert check_name(levels[1], what="device") == levels[1]


_TOPICS: Final = tuple(
    f"edgefed/1/home/{rest}".encode()
    for rest in (
        *("round/7", "server/info", "d/kitchen/need", "d/a-1/up/0123456789abcdef/b/3"),
        *(f"blob/{'ab' * 32}/b/65535", "d/kitchen/cmd/receipt", "deploy/desired"),
    )
)


def _codec_target(name: str, *, share: float) -> Target:
    generate: Callable[[Random], bytes] | None = layered if name == "uq" else None
    return Target(
        name=f"codec {name}",
        group="codecs",
        seeds=_encoded(name),
        open=always(_decoding(name)),
        generate=generate,
        share=share,
        max_bytes=4 * LARGE + 1000,
        bytes_more=4 << 20,
    )


WIRE_TARGETS: Final = (
    Target(
        "frames and messages",
        "frames",
        (*FRAMES, UPDATE_FRAME),
        always(read_frame),
        typed=(DecodeError, EncodeError),
        shape=FRAME,
        share=3,
    ),
    *(_codec_target(name, share=3 if name == "uq" else 0.5) for name in CODECS),
    Target(
        "blocks, lists and needs",
        "block transfer",
        (
            *BLOCKS,
            LISTING.frame,
            frame(Need(LISTING.head.blob, "ff00", hashes=True)),
            frame(Need(LISTING.head.blob, "")),
        ),
        _receiving,
        shape=FRAME,
        share=2,
    ),
    Target(
        "lists of hashes",
        "block transfer",
        (LISTING.frame,),
        always(read_listing),
        shape=FRAME,
    ),
    Target(
        "manifest",
        "manifests",
        (example_manifest(),),
        always(read_manifest),
        shape=JSON,
        share=2,
    ),
    Target(
        "topics",
        "topics",
        _TOPICS,
        always(read_topic),
        typed=(DecodeError, ConfigError),
        share=2,
    ),
)
