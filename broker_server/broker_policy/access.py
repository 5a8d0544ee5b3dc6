"""Access: who is shut out of what, as brokers' access lists say it.

What everybody may do is in the templates (``firmware_configs/brokers``); what is here
grows with the fleet: revoked devices, and claims, which open nothing but joining.
This module is pure.

>>> print(Access("home", revoked=("shed",)).mosquitto())
<BLANKLINE>
user shed
topic deny #
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from wire_protocol.topics import Topics

SHARED: Final = ("server", "round", "deploy", "blob")
"""First levels that the server writes and every device reads."""


@dataclass(frozen=True, slots=True)
class Access:
    """Of one fleet: devices that were revoked, and claims, by name."""

    fleet: str
    revoked: tuple[str, ...] = ()
    claims: tuple[str, ...] = ()

    @property
    def root(self) -> str:
        """First levels of the fleet's topics."""
        return Topics(self.fleet).root

    def mosquitto(self) -> str:
        """Return sections of an ``acl_file``; in them what is denied comes first."""
        lines: list[str] = []
        for device in self.revoked:
            lines += ["", f"user {device}", "topic deny #"]
        for claim in self.claims:
            lines += ["", f"user {claim}"]
            lines += [f"topic deny {self.root}/{level}/#" for level in ("d", *SHARED)]
        return "\n".join(lines)

    def emqx(self) -> str:
        """Return rules of an ``acl.conf``; the first that fits holds."""
        return "\n".join(
            f'{{deny, {{username, "{device}"}}, all, ["#"]}}.'
            for device in self.revoked
        )


def password_users(
    root: str, devices: Iterable[str], *, joining: Iterable[str] = ()
) -> str:
    """Return sections of an ``acl_file`` for users with passwords, named in full.

    Patterns would let every other user of that broker in. Those who are ``joining``
    may use claims, whose topics a password cannot tell apart; what is said on them is
    sealed with the claim's key.
    """
    lines: list[str] = []
    for device in devices:
        lines += ["", f"user {device}", f"topic readwrite {root}/d/{device}/#"]
        lines += [f"topic read {root}/{level}/#" for level in SHARED]
    for device in joining:
        lines += ["", f"user {device}", f"topic readwrite {root}/enroll/#"]
    return "\n".join(lines)
