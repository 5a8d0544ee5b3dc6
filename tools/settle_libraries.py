"""Make the kernel forget freshly installed libraries, so that it reads them anew.

    python tools/settle_libraries.py .venv

What was just written lies in the page cache in large pieces, and a process that maps
a library then counts whole pieces as its own: up to 4 MiB more resident memory than
after a reboot. The tests measure memory, so they begin where a device begins.
Standard library only: whoever imported numpy would hold its pages.
"""

import os
import sys
from pathlib import Path


def settle(folder: Path) -> int:
    """Write back and forget every shared library below ``folder``; return how many."""
    count = 0
    for path in folder.rglob("*.so*"):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)
        count += 1
    return count


if __name__ == "__main__" and hasattr(os, "posix_fadvise"):
    settle(Path(sys.argv[1]))
