"""Modules that a library imports and an agent never uses, loaded once they are used.

paho-mqtt imports ``urllib.request``, for brokers behind a proxy, and with it an HTTP
client and the parsing of mail, 1.2 MB; and ``uuid``, for clients without a name. Import
this before the library.
"""

import importlib
import sys
from types import ModuleType
from typing import Final

POSTPONED: Final = ("urllib.request", "uuid")


def postpone(name: str) -> None:
    """Put a module in the place of ``name`` that gives way to it when it is used.

    Its ``__getattr__`` is asked for what it lacks (PEP 562), which is everything. For
    ``import name`` only: ``from name import`` uses it at once.
    """
    if name in sys.modules:
        return
    place = ModuleType(name)

    def load(attribute: str) -> object:
        if sys.modules.get(name) is place:
            del sys.modules[name]
        return getattr(importlib.import_module(name), attribute)

    place.__getattr__ = load  # type: ignore[method-assign]
    sys.modules[name] = place
    parent, _, child = name.rpartition(".")
    if parent:  # as an import does
        setattr(importlib.import_module(parent), child, place)


for _name in POSTPONED:
    postpone(_name)
