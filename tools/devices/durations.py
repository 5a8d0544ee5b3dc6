"""Durations as people write them.

This module is pure.

>>> seconds_of("10m"), seconds_of("24h")
(600.0, 86400.0)
"""

import re
from typing import Final

from wire_protocol.errors import ConfigError

_UNITS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0}
_WRITTEN: Final = re.compile(r"([0-9]{1,9})([smh])")


def seconds_of(text: str) -> float:
    """Return the seconds of a whole number with ``s``, ``m`` or ``h``.

    Raises:
        ConfigError: It is written otherwise.
    """
    written = _WRITTEN.fullmatch(text.strip())
    if written is None:
        raise ConfigError(
            f"{text!r:.40} is no time", remedy="write it as 30s, 10m or 2h"
        )
    return int(written[1]) * _UNITS[written[2]]
