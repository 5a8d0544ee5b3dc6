"""Targets that are files: settings, arrays, and what both sides keep on disk."""

import io
import struct
import tarfile
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np

from broker_server import tar_entries
from broker_server.config import load_config as load_server_config
from edge_agent.config import load_config as load_agent_config
from edge_agent.examples import Examples
from edge_agent.journal import KeptModel, KeptUpdate, Record, from_bytes, to_bytes
from edge_agent.segments import (
    Form,
    encode_header,
    encode_records,
    open_segment,
    read_records,
)
from edge_agent.session import Fetching, Idle, Reporting, Training
from edge_agent.sources.label_file import read_intervals
from edge_agent.state_files import StateFiles
from edge_agent.vectors import read_vectors, write_vectors
from model_zoo import zoo
from model_zoo.measured import Measured
from model_zoo.quantize.record import Quantized
from tools.fuzz.messages import BLOB, BLOCK_BYTES, LISTING, OFFER
from tools.fuzz.shapes import JOURNAL, JSON, SEGMENT, TOML, VECTORS, Shape, npz
from tools.fuzz.target import Entry, Target, always
from wire_protocol.cutting import Cut
from wire_protocol.errors import ConfigError, DecodeError, RefusedError
from wire_protocol.npz import load_arrays
from wire_protocol.part_files import PartFolder, parse_map
from wire_protocol.transfer import Assembly

ROOT: Final = Path(__file__).parents[2]
_EXAMPLES: Final = ROOT / "firmware_configs/examples"
_MOST_ARRAY_BYTES: Final = 1 << 20
_MAP_HEAD: Final = struct.Struct("<4sIQ32sI")


def _reading(read: Callable[[Path], object], name: str) -> Callable[[Path], Entry]:
    """Return an ``open`` for a parser of files: the input is written to one first."""

    def opened(folder: Path) -> Entry:
        path = folder / name

        def entry(raw: bytes) -> None:
            path.write_bytes(raw)
            read(path)

        return entry

    return opened


def _bare(path: Path) -> bytes:
    """Return the settings in an example without its comments."""
    lines = path.read_bytes().splitlines()
    return b"\n".join(line.split(b"  #")[0] for line in lines if line[:1] != b"#")


# --- settings -----------------------------------------------------------------------

_AGENT_DATA: Final = (
    b"""
[agent]
device = "kitchen"
state_dir = "state"
[data]
source = "mqtt"
[data.mqtt]
topic = "sensors/imu"
channels = { x = "$.accel.x", t = "sensors/room $.temperature" }
[data.window]
length = 4
period_s = 0.5
max_age_s = 2.0
[data.labels]
by = "rule"
rules = ["hot: t > 30 and x < 0.4", "cold: t < 5"]
default = "fine"
classes = { fine = 0, hot = 1, cold = 2 }
""",
    b"""
[agent]
device = "attic"
state_dir = "state"
[data]
source = "folder"
[data.folder]
path = "recordings"
columns = ["x", "y"]
time = "time"
[data.labels]
by = "column"
column = "activity"
""",
)

# --- arrays -------------------------------------------------------------------------


def _npz() -> bytes:
    file = io.BytesIO()
    np.savez(file, x=np.arange(12, dtype=np.float32).reshape(3, 4))
    return file.getvalue()


def _arrays(path: Path) -> None:
    arrays = load_arrays(path, ("x",), max_bytes=_MOST_ARRAY_BYTES)
    assert arrays["x"].nbytes <= _MOST_ARRAY_BYTES
    assert not arrays["x"].dtype.hasobject


# --- what a device keeps ------------------------------------------------------------


def _journals() -> tuple[bytes, ...]:
    model = KeptModel(2, "cd" * 32, "23" * 8)
    update = KeptUpdate(3, "45" * 8, "23" * 8)
    states = (
        Idle(OFFER),
        Fetching(OFFER),
        Training(OFFER),
        Reporting(OFFER, "45" * 8, OFFER),
    )
    return tuple(to_bytes(Record(state, model, update, 17)) for state in states)


def read_journal(raw: bytes) -> None:
    """Read a journal; what can be read must come back as it was."""
    record = from_bytes(raw)
    assert from_bytes(to_bytes(record)) == record


def _made(make: Callable[[Path], object]) -> bytes:
    """Return the bytes of a file that ``make`` writes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        make(path)
        return path.read_bytes()


def _write_vectors(path: Path) -> None:
    vectors = (np.arange(5, dtype=np.float32), np.zeros(3, np.float32))
    write_vectors(StateFiles(path.parent), path, vectors=vectors, head={"epoch": 1})


def _vectors(path: Path) -> None:
    for vector in read_vectors(path).vectors:
        assert np.isfinite(vector).all()


def _segment() -> bytes:
    form = Form((2, 3), "classes", 1, "made by hand")
    x = np.arange(24, dtype=np.float32).reshape(4, 2, 3)
    examples = Examples(x, np.array([0, 1, 0, 1], np.int32))
    records = encode_records(form, examples, first=7)
    return encode_header(form, first=7) + records


def _examples(path: Path) -> None:
    segment = open_segment(path)
    words = read_records(segment, 0, segment.count)
    assert segment.form.examples(words).count == segment.count


# --- part files ---------------------------------------------------------------------

_CUT: Final = Cut(len(BLOB), BLOCK_BYTES)
_MAP_TAIL: Final = -(-_CUT.count // 8)


def _split_map(raw: bytes) -> tuple[bytes, bytes]:
    if len(raw) < _MAP_HEAD.size + 4 + _MAP_TAIL:
        raise ValueError("too short")
    head, rest = raw[: _MAP_HEAD.size], raw[_MAP_HEAD.size + 4 :]
    return head + rest[:-_MAP_TAIL], rest[-_MAP_TAIL:]


def _join_map(text: bytes, rest: bytes) -> bytes:
    head, hashes = text[: _MAP_HEAD.size], text[_MAP_HEAD.size :]
    return head + struct.pack("<I", zlib.crc32(text)) + hashes + rest


def _maps() -> tuple[bytes, ...]:
    """Return maps with and without the list of hashes."""
    ref = LISTING.head.blob
    with tempfile.TemporaryDirectory() as folder:
        part = PartFolder(Path(folder), durable=False).open(
            ref, block_bytes=BLOCK_BYTES
        )
        path = Path(folder) / f"{ref.sha256}.map"
        without = path.read_bytes()
        part.save(LISTING, b"\x05" + bytes(_MAP_TAIL - 1))
        return without, path.read_bytes()


def read_map(raw: bytes) -> str:
    """Read a map, and let an assembly go on where it says; tell what it is."""
    ref = LISTING.head.blob
    found = parse_map(raw, ref=ref, block_bytes=BLOCK_BYTES)
    if found is not None:
        assembly = Assembly(ref, block_bytes=BLOCK_BYTES, max_bytes=len(BLOB))
        assembly.resume(found.listing, found.here)
        assert assembly.here() == found.here
    return "none" if found is None else f"with a list: {found.listing is not None}"


# --- models' files ------------------------------------------------------------------


def read_measured(raw: bytes) -> None:
    """Read what a model was measured to reach."""
    Measured.from_json(raw, source="measured.json")


def _of_zoo(name: str) -> bytes:
    return (zoo.artifact_folder("digits-mlp").parent / name).read_bytes()


# --- backups ------------------------------------------------------------------------


def _tar() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in (("index.json", b"{}"), ("blobs/ab", b"x" * 700)):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return file.getvalue()


def _split_tar(raw: bytes) -> tuple[bytes, bytes]:
    if len(raw) < tar_entries.BLOCK:
        raise ValueError("too short")
    return raw[: tar_entries.BLOCK], raw[tar_entries.BLOCK :]


def _join_tar(text: bytes, rest: bytes) -> bytes:
    """Give the first header the right checksum."""
    if len(text) != tar_entries.BLOCK:
        return text + rest
    total = sum(text[:148] + b" " * 8 + text[156:])
    return text[:148] + b"%06o\0 " % total + text[156:] + rest


def read_tar(raw: bytes) -> None:
    """Read every entry of an archive; none is longer than the archive."""
    for entry in tar_entries.entries(io.BytesIO(raw)):
        assert sum(map(len, entry.chunks())) == entry.size <= len(raw)


SETTINGS: Final = (ConfigError, RefusedError)
FILE_TARGETS: Final = (
    Target(
        "server.toml",
        "settings",
        (_bare(_EXAMPLES / "server.toml"),),
        _reading(load_server_config, "server.toml"),
        typed=SETTINGS,
        shape=TOML,
    ),
    Target(
        "agent.toml",
        "settings",
        (_bare(_EXAMPLES / "agent.toml"), *_AGENT_DATA),
        _reading(load_agent_config, "agent.toml"),
        typed=SETTINGS,
        shape=TOML,
    ),
    Target(
        "label files",
        "settings",
        (b"start,end,label\n0,1.5,on\n2024-05-01T12:30:00,2024-05-01T13:00:00,off\n",),
        _reading(read_intervals, "labels.csv"),
        typed=(ConfigError,),
        share=0.5,
    ),
    Target(
        ".npz arrays",
        "arrays",
        (_npz(),),
        _reading(_arrays, "examples.npz"),
        typed=(ConfigError,),
        shape=npz("x.npy"),
        share=2,
    ),
    Target(
        "measured.json",
        "manifests",
        (_of_zoo("measured.json"),),
        always(read_measured),
        typed=(ConfigError,),
        shape=JSON,
        share=0.5,
    ),
    Target(
        "quantized.json",
        "manifests",
        (_of_zoo("quantized.json"),),
        always(Quantized.from_json),
        typed=(ConfigError, DecodeError),
        shape=JSON,
        share=0.5,
    ),
    Target("journal", "state", _journals(), always(read_journal), shape=JOURNAL),
    Target(
        "vectors",
        "state",
        (_made(_write_vectors),),
        _reading(_vectors, "vectors"),
        shape=VECTORS,
        share=0.5,
    ),
    Target(
        "segments of examples",
        "state",
        (_segment(),),
        _reading(_examples, "0.examples"),
        shape=SEGMENT,
        share=0.5,
    ),
    Target(
        "maps of part files",
        "state",
        _maps(),
        always(read_map),
        typed=(),
        shape=Shape(_split_map, _join_map),
    ),
    Target(
        "backups",
        "state",
        (_tar(),),
        always(read_tar),
        typed=(RefusedError,),
        shape=Shape(_split_tar, _join_tar),
        share=0.5,
    ),
)
