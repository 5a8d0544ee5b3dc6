"""Own names: by what other machines reach this one."""

import socket
from typing import Final

LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")
# Documentation networks (RFC 5737, RFC 3849): nothing is sent there, but the kernel
# tells from which address it would be.
_ELSEWHERE: Final = (
    (socket.AF_INET, "192.0.2.1"),
    (socket.AF_INET6, "2001:db8::1"),
)


def own_names() -> tuple[str, ...]:
    """Return the names and addresses of this machine, what devices should use first.

    A name without a domain is first given with ``.local``, which every device finds
    that speaks mDNS, whatever address the router hands out.
    """
    name = socket.gethostname().lower()
    names = (name,) if "." in name else (f"{name}.local", name)
    return (*names, *_addresses())


def _addresses() -> tuple[str, ...]:
    found = []
    for family, elsewhere in _ELSEWHERE:
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((elsewhere, 9))
                found.append(str(probe.getsockname()[0]))
        except OSError:
            continue  # this machine has no such network
    return tuple(address for address in found if address not in LOOPBACK)
