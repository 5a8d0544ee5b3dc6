"""A fleet as its folder's ``fleet.json`` says: its name, and where its broker is.

This module is pure.

>>> Fleet("home", ("broker.local", "192.168.1.5")).port
8883
"""

import ipaddress
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from wire_protocol.errors import ConfigError
from wire_protocol.fields import Fields, json_object
from wire_protocol.topics import check_name

TLS_PORT: Final = 8883
DEFAULT_FOLDER: Final = Path("fleet")
"""Where commands look for a fleet that are not told where."""
MAX_HOSTS: Final = 32
_HOST: Final = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Fleet:
    """What ``fleet.json`` says.

    ``hosts`` are the names and addresses the broker is reached by, the first of them by
    devices; ``port`` is its TLS port.
    """

    fleet: str
    hosts: tuple[str, ...]
    port: int = TLS_PORT

    def __post_init__(self) -> None:
        check_name(self.fleet, what="fleet")
        if not 1 <= len(self.hosts) <= MAX_HOSTS:
            raise ConfigError(
                f"a broker has 1 to {MAX_HOSTS} names, not {len(self.hosts)}",
                remedy="give --host once for each name or address",
            )
        for host in self.hosts:
            if not _is_host(host):
                raise ConfigError(
                    f"{host!r:.80} is no name of a machine and no address",
                    remedy="use a name such as broker.local, or an address, "
                    "without a port",
                )
        if not 1 <= self.port <= 65_535:
            raise ConfigError(
                f"a port is from 1 to 65535, not {self.port}",
                remedy=f"leave --port away for {TLS_PORT}",
            )

    @classmethod
    def from_json(cls, raw: bytes) -> Self:
        """Parse, or raise ``DecodeError`` or ``ConfigError``."""
        fields = Fields(json_object(raw, what="fleet.json"), owner="fleet")
        return cls(
            fields.text("fleet", longest=32),
            fields.texts("hosts", most=MAX_HOSTS),
            fields.whole("port", least=1, most=65_535),
        )

    def to_json(self) -> bytes:
        """Return the file's content."""
        plain = {"fleet": self.fleet, "hosts": list(self.hosts), "port": self.port}
        return (json.dumps(plain, indent=1) + "\n").encode()


def _is_host(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        labels = text.split(".")
        fits = len(text) <= 253 and all(len(label) <= 63 for label in labels)
        return fits and all(_HOST.fullmatch(label) for label in labels)
    return "%" not in text  # an IPv6 zone means something on one machine only
