"""Where what was fetched or made once is kept for its user. Pure."""

from collections.abc import Mapping
from pathlib import Path


def user_cache(environ: Mapping[str, str]) -> Path | None:
    """Return our folder by ``XDG_CACHE_HOME`` or ``HOME``; None where neither is set.

    >>> user_cache({"HOME": "/home/eva"}).as_posix()
    '/home/eva/.cache/edgefed'
    """
    home = environ.get("HOME")
    cache = environ.get("XDG_CACHE_HOME") or (home and f"{home}/.cache")
    return Path(cache) / "edgefed" if cache else None
