"""What ``edgefed broker init`` writes for each kind of broker, and what then to do."""

import base64
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from broker_server.broker_policy.access import Access, password_users
from broker_server.broker_policy.policy_folder import (
    ANYWHERE,
    MAX_PACKET_BYTES,
    Listening,
    PolicyFolder,
    make_private,
    write_changed,
)
from broker_server.broker_policy.program import DEBIAN_PLUGIN, Dialect
from broker_server.broker_policy.templates import filled
from broker_server.fleet_folder import (
    CONSOLE_NAME,
    SERVER_NAME,
    FleetFolder,
    RandomBytes,
)
from wire_protocol.errors import ConfigError
from wire_protocol.topics import Topics, check_name

_PASSWORD_BYTES: Final = 24


@dataclass(frozen=True, slots=True)
class Written:
    """Where files were written, which, and what is to be done next, a line each."""

    folder: Path
    files: tuple[str, ...]
    steps: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """For which fleet, into which folder, and where the broker will listen.

    ``acl_plugin`` is mosquitto 2.1's, where it is known; ``random`` makes passwords;
    ``logins`` are devices yet to join, for brokers with passwords.
    """

    fleet: FleetFolder
    out: Path
    listening: Listening
    random: RandomBytes
    acl_plugin: Path | None = None
    logins: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in self.logins:
            check_name(name, what="device")

    @property
    def access(self) -> Access:
        """Who is shut out of what, by now."""
        members, claims = self.fleet.members(), self.fleet.claims()
        return Access(
            self.fleet.fleet.fleet,
            revoked=tuple(name for name, one in members.items() if one.revoked),
            claims=tuple(claims),
        )


def _mosquitto(place: Place, dialect: Dialect) -> Written:
    folder = PolicyFolder(
        place.out,
        place.fleet,
        listening=place.listening,
        dialect=dialect,
        acl_plugin=place.acl_plugin or DEBIAN_PLUGIN,
    )
    folder.write()
    return _written(
        folder.path, "mosquitto-steps.txt", fleet_dir=place.fleet.path.absolute()
    )


def _emqx(place: Place) -> Written:
    folder = place.out.absolute()
    access = place.access
    address, port = place.listening.address, place.listening.port
    texts = {
        "emqx.conf": filled(
            "emqx.conf",
            fleet=access.fleet,
            folder=folder,
            bind=port if address == ANYWHERE else f"{address}:{port}",
            max_packet_bytes=f'"{MAX_PACKET_BYTES}B"',
        ),
        "acl.conf": filled(
            "emqx-acl.conf",
            fleet=access.fleet,
            root=access.root,
            server=SERVER_NAME,
            console=CONSOLE_NAME,
            shut=access.emqx(),
        ),
    }
    _write(place, texts, copies=("authority.crt", "broker.crt", "broker.key"))
    return _written(folder, "emqx-steps.txt")


def _home_assistant(place: Place) -> Written:
    folder = place.out.absolute()
    fleet = place.fleet.fleet.fleet
    root = Topics(fleet).root
    members = place.fleet.members()
    joining = [name for name in place.logins if name not in members]
    devices = [name for name, one in members.items() if not one.revoked] + joining
    logins = "\n".join(
        f'  - username: "{name}"\n    password: "{_password(place, name)}"'
        for name in (SERVER_NAME, *devices)
    )
    for name in members.keys() - devices:
        (folder / "passwords" / name).unlink(missing_ok=True)
    texts = {
        "options.yaml": filled("home-assistant.yaml", logins=logins),
        "edgefed.conf": filled(
            "home-assistant.conf", max_packet_bytes=MAX_PACKET_BYTES
        ),
        "edgefed.acl": filled(
            "home-assistant.acl",
            root=root,
            server=SERVER_NAME,
            devices=password_users(root, devices, joining=joining),
        ),
    }
    _write(place, texts, copies=("authority.crt", "broker.crt", "broker.key"))
    return _written(folder, "home-assistant-steps.txt")


_MAKERS: Final[dict[str, Callable[[Place], Written]]] = {
    "mosquitto-2.0": lambda place: _mosquitto(place, "2.0"),
    "mosquitto-2.1": lambda place: _mosquitto(place, "2.1"),
    "emqx": _emqx,
    "home-assistant": _home_assistant,
}
KINDS: Final = tuple(_MAKERS)
Kind: TypeAlias = str


def write_for(kind: Kind, place: Place) -> Written:
    """Write what a broker of ``kind`` needs.

    Raises:
        ConfigError: No such kind, or a file cannot be read or written.
    """
    maker = _MAKERS.get(kind)
    if maker is None:
        raise ConfigError(
            f"no kind of broker is called {kind!r:.40}",
            remedy=f"use one of {', '.join(KINDS)}",
        )
    return maker(place)


def _write(place: Place, texts: dict[str, str], *, copies: tuple[str, ...]) -> None:
    make_private(place.out)
    for name, text in texts.items():
        write_changed(place.out / name, text.encode())
    for name in copies:
        try:
            raw = (place.fleet.path / name).read_bytes()
        except OSError as error:
            raise ConfigError(
                f"{place.fleet.path / name} cannot be read: {error.strerror}",
                remedy="run this as the user the fleet's folder belongs to",
            ) from error
        write_changed(place.out / name, raw)


def _password(place: Place, name: str) -> str:
    """Return the password of ``name``: the one it has, else a new one."""
    make_private(place.out / "passwords")
    path = place.out / "passwords" / name
    if not path.exists():
        made = base64.urlsafe_b64encode(place.random(_PASSWORD_BYTES))
        write_changed(path, made + b"\n")
    return path.read_text(encoding="ascii").strip()


def _written(folder: Path, steps: str, **values: object) -> Written:
    found = (path for path in folder.rglob("*") if path.is_file())
    return Written(
        folder,
        tuple(sorted(str(path.relative_to(folder)) for path in found)),
        tuple(filled(steps, folder=folder, **values).splitlines()),
    )
