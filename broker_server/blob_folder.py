"""A folder of content-addressed files, each written whole or not at all."""

import contextlib
import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from broker_server.storage_error import REMEDY, StorageError
from wire_protocol.atomic_file import write_atomically
from wire_protocol.errors import RefusedError


@dataclass(frozen=True, slots=True)
class BlobFolder:
    """Files named by their SHA-256."""

    folder: Path

    def put(self, blob: bytes) -> str:
        """Store ``blob`` durably and return its digest; storing it again is free.

        Raises:
            StorageError: The folder cannot be written.
        """
        digest = hashlib.sha256(blob).hexdigest()
        path = self.folder / digest
        if path.exists():
            return digest
        try:
            write_atomically(path, blob)
        except OSError as error:
            raise StorageError(
                f"{path} cannot be written: {error.strerror}", remedy=REMEDY
            ) from error
        return digest

    def get(self, digest: str) -> bytes:
        """Return the blob.

        Raises:
            RefusedError: It is gone, or no longer what it was.
            StorageError: It cannot be read now.
        """
        path = self.folder / digest
        try:
            blob = path.read_bytes()
        except FileNotFoundError as error:
            raise RefusedError(
                f"{path} is missing",
                remedy="restore the state folder from a backup, or begin a new one",
            ) from error
        except OSError as error:
            raise StorageError(
                f"{path} cannot be read: {error.strerror}", remedy=REMEDY
            ) from error
        if hashlib.sha256(blob).hexdigest() != digest:
            raise RefusedError(
                f"{path} is damaged: its content has another digest",
                remedy="restore the state folder from a backup, or begin a new one",
            )
        return blob

    def keep_only(self, digests: Collection[str]) -> None:
        """Remove every other file, and what an interrupted ``put`` left.

        What cannot be removed now is removed another time.
        """
        with contextlib.suppress(OSError):
            for path in self.folder.iterdir():
                if path.name not in digests:
                    path.unlink(missing_ok=True)
