"""The table of targets: every parser of bytes that others wrote."""

from typing import Final

from tools.fuzz.file_targets import FILE_TARGETS
from tools.fuzz.side_targets import SIDE_TARGETS
from tools.fuzz.target import Target
from tools.fuzz.trust_targets import TRUST_TARGETS
from tools.fuzz.wire_targets import WIRE_TARGETS
from wire_protocol.errors import ConfigError

TARGETS: Final[tuple[Target, ...]] = (
    *WIRE_TARGETS,
    *SIDE_TARGETS,
    *FILE_TARGETS,
    *TRUST_TARGETS,
)


def target_named(name: str) -> Target:
    """Return a target.

    Raises:
        ConfigError: There is none of that name.
    """
    for target in TARGETS:
        if target.name == name:
            return target
    raise ConfigError(
        f"{name!r} is no target",
        remedy="choose from: " + ", ".join(one.name for one in TARGETS),
    )
