"""Modules that a library imports and an agent never uses, loaded once they are used.

paho-mqtt imports ``urllib.request``, for brokers behind a proxy, and with it an HTTP
client and the parsing of mail: 1.2 MB. Import this before the library.
"""

import importlib
import sys
import urllib
from types import ModuleType
from typing import Final

POSTPONED: Final = "urllib.request"


def postpone() -> None:
    """Put a module in the place of ``urllib.request`` that gives way to it when used.

    Its ``__getattr__`` is asked for what it lacks (PEP 562), which is everything.
    """
    if POSTPONED in sys.modules:
        return
    place = ModuleType(POSTPONED)

    def load(name: str) -> object:
        if sys.modules.get(POSTPONED) is place:
            del sys.modules[POSTPONED]
        return getattr(importlib.import_module(POSTPONED), name)

    place.__getattr__ = load  # type: ignore[method-assign]
    sys.modules[POSTPONED] = place
    urllib.request = place  # type: ignore[attr-defined]  # as an import does


postpone()
