"""The C library's allocator, told that this is a small machine."""

import ctypes
from typing import Final

_M_ARENA_MAX: Final = -8  # glibc, malloc.h


def share_one_arena() -> None:
    """Let all threads allocate in one arena, before the first of them begins.

    glibc gives each thread an arena of its own, which keeps what was once taken: 0.25
    MiB for the thread that connects alone (mallopt(3)). An agent's threads wait for
    each other anyway. Other C libraries do it their way.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 1)
