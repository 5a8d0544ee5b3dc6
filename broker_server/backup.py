"""Backup and restore of a state folder, as one tar file.

A backup holds ``backup.json`` (what follows, with sizes and digests), the database, and
every blob that the database names. It is taken while the server runs. A restore trusts
nothing in the file: every name is expected, every size fits into the file, every digest
is checked, and nothing is in the state folder before all of it is.
"""

import hashlib
import json
import os
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from broker_server.storage_error import StorageError
from broker_server.store import DATABASE, Store
from broker_server.tar_entries import Entry, entries, unsound
from wire_protocol.errors import ConfigError, RefusedError

INDEX: Final = "backup.json"
FORMAT: Final = 1
ATTEMPTS: Final = 5
"""How often a copy of the database is taken anew when one of its blobs is pruned."""
MAX_INDEX_BYTES: Final = 1 << 20
_BLOBS: Final = "blobs/"


@dataclass(frozen=True, slots=True)
class Backup:
    """What a backup holds: blobs, and bytes in all."""

    blobs: int
    size: int


def back_up(state_dir: Path, out: Path) -> Backup:
    """Write a backup of ``state_dir`` to ``out``; a server may be using it.

    Raises:
        ConfigError: There is no state, or ``out`` cannot be written.
        RefusedError: The state is damaged.
    """
    for attempt in range(ATTEMPTS):
        with Store.open(state_dir, readonly=True) as store:
            try:
                return _write(store, out)
            except OSError as error:
                raise ConfigError(
                    f"{out} cannot be written: {error.strerror}",
                    remedy="name another --out",
                ) from error
            except _PrunedError:
                # The server merged meanwhile; what its database names now is there.
                if attempt == ATTEMPTS - 1:
                    raise
    raise AssertionError


class _PrunedError(RefusedError):
    """A blob that the copied database names is gone."""


def _write(store: Store, out: Path) -> Backup:
    with (
        tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as folder,
        (Path(folder) / "backup.tar").open("xb") as file,
    ):
        os.fchmod(file.fileno(), 0o600)
        copy = Path(folder) / DATABASE
        names = store.copy_to(copy)
        sizes = {name: _size_of(store, name) for name in sorted(names)}
        index = {
            "format": FORMAT,
            "database": {"sha256": _digest(copy), "size": copy.stat().st_size},
            "blobs": sizes,
        }
        with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            written = json.dumps(index, sort_keys=True).encode()
            with tempfile.TemporaryFile(dir=folder) as held:
                held.write(written)
                held.seek(0)
                _add(tar, INDEX, held, size=len(written))
            with copy.open("rb") as source:
                _add(tar, DATABASE, source, size=copy.stat().st_size)
            for name, size in sizes.items():
                with _opened(store, name) as source:
                    _add(tar, _BLOBS + name, source, size=size)
        file.flush()
        os.fsync(file.fileno())
        size = file.tell()
        Path(file.name).replace(out)
    _sync_folder(out.parent)
    return Backup(len(sizes), size)


def _size_of(store: Store, name: str) -> int:
    with _opened(store, name) as source:
        return os.fstat(source.fileno()).st_size


def _opened(store: Store, name: str) -> IO[bytes]:
    try:
        return store.open_blob(name)
    except FileNotFoundError as error:
        raise _PrunedError(
            f"blob {name[:12]} of the state folder is missing",
            remedy="restore the state folder from an older backup",
        ) from error


def _add(tar: tarfile.TarFile, name: str, source: IO[bytes], *, size: int) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o600
    tar.addfile(info, source)


# --- restore ----------------------------------------------------------------------


def restore(archive: Path, state_dir: Path) -> Backup:
    """Bring the backup ``archive`` into ``state_dir``, which must be empty or missing.

    Raises:
        ConfigError: ``archive`` cannot be read.
        RefusedError: ``state_dir`` is in use, or the backup is not whole and sound.
    """
    state_dir = state_dir.absolute()
    if state_dir.exists() and (not state_dir.is_dir() or any(state_dir.iterdir())):
        raise RefusedError(
            f"{state_dir} is not empty, and a restore replaces nothing",
            remedy="set another [server] state_dir, or move the old one away",
        )
    try:
        file = archive.open("rb")
    except OSError as error:
        raise ConfigError(
            f"{archive} cannot be read: {error.strerror}", remedy="name another --from"
        ) from error
    try:
        state_dir.parent.mkdir(parents=True, exist_ok=True)
        with (
            file,
            tempfile.TemporaryDirectory(
                dir=state_dir.parent, prefix=f".{state_dir.name}."
            ) as scratch,
        ):
            fresh = Path(scratch) / "state"
            (fresh / "blobs").mkdir(parents=True)
            found = _unpack(file, fresh)
            _check(fresh)
            fresh.chmod(0o700)
            fresh.replace(state_dir)
        _sync_folder(state_dir.parent)
    except OSError as error:
        raise StorageError(
            f"{state_dir} cannot be written: {error.strerror}",
            remedy="free some disk space, or set another [server] state_dir",
        ) from error
    return found


def _unpack(file: IO[bytes], folder: Path) -> Backup:
    """Write every entry below ``folder``; each is what the index says."""
    total = os.fstat(file.fileno()).st_size
    found = entries(file)
    first = next(found, None)
    if first is None or first.name != INDEX or first.size > MAX_INDEX_BYTES:
        raise unsound("it does not begin with its index")
    wanted = _read_index(b"".join(first.chunks()))
    if sum(size for _, size in wanted.values()) > total:
        raise unsound("it claims to hold more than it has bytes")
    (folder / "blobs").chmod(0o700)
    for name, (digest, size) in wanted.items():
        entry = next(found, None)
        if entry is None or (entry.name, entry.size) != (name, size):
            raise unsound(f"expected {name} of {size} bytes")
        _write_entry(entry, folder / name, digest=digest)
    if next(found, None) is not None:
        raise unsound("it holds more than its index names")
    for changed in (folder / "blobs", folder):
        _sync_folder(changed)
    return Backup(len(wanted) - 1, total)


def _read_index(raw: bytes) -> dict[str, tuple[str, int]]:
    """Return digest and size of every entry to come, by its name, in order."""
    try:
        index = json.loads(raw)
        database, blobs = index["database"], index["blobs"]
        wanted = {DATABASE: (database["sha256"], database["size"])}
        wanted |= {_BLOBS + name: (name, size) for name, size in blobs.items()}
        known = index["format"] == FORMAT
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        raise unsound("its index cannot be read") from error
    if not known:
        raise unsound(f"expected format {FORMAT}")
    for digest, size in wanted.values():
        if not _is_digest(digest) or type(size) is not int or size < 0:
            raise unsound("its index names no digest and size")
    return wanted


def _is_digest(text: object) -> bool:
    hexadecimal = set("0123456789abcdef")
    return isinstance(text, str) and len(text) == 64 and set(text) <= hexadecimal


def _write_entry(entry: Entry, path: Path, *, digest: str) -> None:
    sha = hashlib.sha256()
    with path.open("xb") as out:
        os.fchmod(out.fileno(), 0o600)
        for chunk in entry.chunks():
            sha.update(chunk)
            out.write(chunk)
        out.flush()
        os.fsync(out.fileno())
    if sha.hexdigest() != digest:
        raise unsound(f"{entry.name} has another digest")


def _check(folder: Path) -> None:
    """See that the database is sound, and that every blob it names is there."""
    with Store.open(folder) as store:
        missing = store.check() - {path.name for path in (folder / "blobs").iterdir()}
    if missing:
        raise unsound(f"blob {min(missing)[:12]} is missing")
    (folder / "server.lock").unlink()


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync_folder(folder: Path) -> None:
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
