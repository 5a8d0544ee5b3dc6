"""The mosquitto that is installed: where it is, which version, which dialect it reads.

mosquitto 2.1 moved access lists into a plugin and calls the former option deprecated;
mosquitto 2.0 knows only that option.
"""

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias

from broker_server.embedded_broker import find_mosquitto
from wire_protocol.errors import ConfigError

Dialect: TypeAlias = Literal["2.0", "2.1"]
DEBIAN_PLUGIN: Final = Path("/usr/lib/mosquitto_acl_file.so")
"""Where mosquitto's own packages and images have the plugin."""
_VERSION: Final = re.compile(r"mosquitto version (\d+)\.(\d+)\.(\d+)")
_PLUGIN: Final = "mosquitto_acl_file.so"
_ANSWER_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Program:
    """An installed mosquitto; ``acl_plugin`` is its plugin for access lists, if any."""

    path: str
    version: tuple[int, int, int]
    acl_plugin: Path | None = None

    @property
    def dialect(self) -> Dialect:
        """What its configuration must look like; 2.1 still reads that of 2.0."""
        return "2.1" if self.version >= (2, 1) and self.acl_plugin else "2.0"

    @property
    def label(self) -> str:
        """How people call it."""
        return "mosquitto " + ".".join(map(str, self.version))


def installed_program() -> Program:
    """Return the mosquitto of this machine.

    Raises:
        ConfigError: There is none, or one that cannot do what is needed.
    """
    path = find_mosquitto()
    if path is None:
        raise ConfigError(
            "mosquitto is not installed, and a fleet needs it",
            remedy="sudo apt install mosquitto",
        )
    try:
        said = subprocess.run(
            [path, "-h"], capture_output=True, text=True, timeout=_ANSWER_S, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigError(
            f"{path} does not run: {error}", remedy="install mosquitto anew"
        ) from error
    version = parsed_version(said)
    if version is None or version < (2, 0, 0):
        told = "no version" if version is None else ".".join(map(str, version))
        raise ConfigError(
            f"{path} is of {told}, expected mosquitto 2.0 or later",
            remedy="install a newer mosquitto",
        )
    plugin = next(_plugins(Path(path)), None) if version >= (2, 1) else None
    return Program(path, version, plugin)


def parsed_version(said: str) -> tuple[int, int, int] | None:
    """Return the version in what ``mosquitto -h`` said.

    >>> parsed_version("mosquitto version 2.0.11")
    (2, 0, 11)
    """
    found = _VERSION.search(said)
    return (int(found[1]), int(found[2]), int(found[3])) if found else None


def _plugins(program: Path) -> Iterator[Path]:
    """Yield where the plugin is, beside the program first."""
    prefix = program.resolve().parent.parent
    for folder in (prefix / "lib", Path("/usr/lib"), Path("/usr/local/lib")):
        for pattern in (_PLUGIN, f"*/{_PLUGIN}", f"*/mosquitto/{_PLUGIN}"):
            yield from sorted(folder.glob(pattern))
