"""A device that fetches one blob and prints its digest: a process a test may kill."""

import asyncio
import hashlib
import sys
from pathlib import Path

from tests.broker.transfers import WINDOW, device_end, linked
from wire_protocol.blobs import BlobRef
from wire_protocol.messages import ServerInfo


async def _fetch(port: int, parts: Path, *, ref: BlobRef, block_bytes: int) -> None:
    info = ServerInfo(block_bytes, WINDOW, "none", 1.0)
    async with (
        linked(port, "killed") as link,
        device_end(link, "pi", parts=parts) as device,
    ):
        blob = await device.fetch(ref, info)
    sys.stdout.write(hashlib.sha256(blob).hexdigest())


if __name__ == "__main__":
    _port, _parts, _sha256, _size, _block_bytes = sys.argv[1:]
    asyncio.run(
        _fetch(
            int(_port),
            Path(_parts),
            ref=BlobRef(_sha256, int(_size)),
            block_bytes=int(_block_bytes),
        )
    )
