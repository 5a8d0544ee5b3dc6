"""Topics: where every message of a fleet is published.

The device id is always the same level, so that two ACL pattern lines suffice and one
device can never read or write as another. This module is pure.

>>> topics = Topics("home")
>>> topics.device("pi-1", "need")
'edgefed/1/home/d/pi-1/need'
>>> topics.levels("edgefed/1/home/d/pi-1/need")
('d', 'pi-1', 'need')
"""

import re
from dataclasses import dataclass
from typing import Final

from wire_protocol.errors import ConfigError, DecodeError

VERSION: Final = "1"
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")


def check_name(name: str, *, what: str) -> str:
    """Return ``name`` if it can be a topic level, else raise ``ConfigError``."""
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"{what} {name!r:.60} is not 1 to 32 of a-z, 0-9, '-' and '_', "
            "beginning with a letter or digit",
            remedy=f"choose another {what}",
        )
    return name


def round_number(level: str) -> int:
    """Return the number in ``round/<n>``, or raise ``DecodeError``."""
    if not (level.isascii() and level.isdecimal() and len(level) <= 10):
        raise DecodeError(f"{level!r:.20} is no round")
    return int(level)


@dataclass(frozen=True, slots=True)
class Topics:
    """The topics of one fleet."""

    fleet: str

    def __post_init__(self) -> None:
        check_name(self.fleet, what="fleet")

    @property
    def root(self) -> str:
        """First three levels of every topic."""
        return f"edgefed/{VERSION}/{self.fleet}"

    @property
    def server_availability(self) -> str:
        """``online`` or ``offline``, retained."""
        return f"{self.root}/server/availability"

    @property
    def server_info(self) -> str:
        """What devices must know before they check in: ``ServerInfo``, retained."""
        return f"{self.root}/server/info"

    @property
    def server_state(self) -> str:
        """Phase, round and version for people, plain JSON, retained."""
        return f"{self.root}/server/state"

    def round(self, number: int | str) -> str:
        """``RoundOffer`` to the cohort, retained while the round is open."""
        return f"{self.root}/round/{number}"

    def blocks(self, sha256: str, index: int | str = "+") -> str:
        """One ``Block`` of a blob; without ``index`` the filter for all of them."""
        return f"{self.root}/blob/{sha256}/b/{index}"

    def block_list(self, sha256: str) -> str:
        """The ``BlockList`` of a blob."""
        return f"{self.root}/blob/{sha256}/m"

    def device(self, device: str, *rest: str) -> str:
        """A topic of ``device``; ``+`` for the filter over all devices."""
        return "/".join((self.root, "d", device, *rest))

    def enrolment(self, claim: str, *rest: str) -> str:
        """A topic of ``claim``; ``+`` for the filter over all claims."""
        return "/".join((self.root, "enroll", claim, *rest))

    def is_sealed(self, topic: str) -> bool:
        """Whether what is said on ``topic`` bears the fleet's signature.

        That is all that a device acts on: greetings, offers, commands, enrolment. Of a
        ``need`` only the device's own update can come.
        """
        if not topic.startswith(self.root + "/"):
            return False
        match topic.removeprefix(self.root + "/").split("/"):
            case ["server", "info"] | ["round", _] | ["enroll", _, "res"]:
                return True
            case ["d", _, "cmd", name]:
                return name != "need"
            case _:
                return False

    def levels(self, topic: str) -> tuple[str, ...]:
        """Return the levels below the fleet, or raise ``DecodeError``."""
        prefix = self.root + "/"
        if not topic.startswith(prefix):
            raise DecodeError(f"{topic!r:.120} is no topic of fleet {self.fleet}")
        levels = tuple(topic[len(prefix) :].split("/"))
        if levels[0] == "d" and (len(levels) < 3 or not _NAME.fullmatch(levels[1])):
            raise DecodeError(f"{topic!r:.120} names no device")
        return levels
