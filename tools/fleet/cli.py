"""``edgefed fleet``: found a fleet, look at it, renew it."""

import argparse
import json
import secrets
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from broker_server.enrolment_rules import check_clock
from broker_server.fleet import DEFAULT_FOLDER, TLS_PORT, Fleet
from broker_server.fleet_folder import FleetFolder
from tools.fleet.own_names import LOOPBACK, own_names
from tools.fleet.summary import Summary, summary_of

if TYPE_CHECKING:
    from argparse import _SubParsersAction

_NEXT = """\

Next:
  1. Let the server know its fleet and its broker, in server.toml:
       [server]
       fleet = "{fleet}"
       [broker]
       host = "{host}"
       port = {port}
       [security]
       fleet_dir = "{folder}"
  2. Start a broker with the fleet's certificates and access rules, and the server:
       edgefed broker run --fleet-dir {folder}
       edgefed server run --config server.toml
  3. For every device, make a token and take it there:
       edgefed devices join --fleet-dir {folder} --for 10m
Keep a copy of {folder} where nobody else can read it: without it no device can join or
be renewed, and whoever has it is the fleet."""


def add_commands(
    subparsers: "_SubParsersAction[argparse.ArgumentParser]",
) -> None:
    """Add ``fleet`` and its commands."""
    fleet = subparsers.add_parser("fleet", help="found a fleet, look at it, renew it")
    commands = fleet.add_subparsers(required=True, metavar="COMMAND")

    init = commands.add_parser(
        "init", help="make a fleet's authority, keys and certificates"
    )
    _add_folder(init)
    init.add_argument(
        "--fleet", default="home", metavar="NAME", help="its name (%(default)s)"
    )
    _add_hosts(init)
    init.add_argument(
        "--port", type=int, default=TLS_PORT, help="of the broker (%(default)s)"
    )
    init.set_defaults(run=_init)

    show = commands.add_parser("show", help="show names, ends and numbers")
    _add_folder(show)
    show.set_defaults(run=_show)

    renew = commands.add_parser(
        "renew", help="make new keys and certificates for server and broker"
    )
    _add_folder(renew)
    _add_hosts(renew)
    renew.add_argument("--port", type=int, help="of the broker, if it changes")
    renew.set_defaults(run=_renew)


def _add_folder(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--dir",
        type=Path,
        default=DEFAULT_FOLDER,
        metavar="FOLDER",
        help="the fleet's folder (%(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def _add_hosts(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--host",
        action="append",
        metavar="NAME",
        help="a name or address of the broker's machine; devices use the first; may be "
        "given again (the names of this machine)",
    )


def _init(args: argparse.Namespace) -> int:
    now = time.time()
    check_clock(now)
    fleet = Fleet(args.fleet, _with_loopback(args.host or own_names()), args.port)
    folder = FleetFolder.create(args.dir, fleet, now=now, random=secrets.token_bytes)
    summary = summary_of(folder, now=now)
    if args.json:
        _print_json(summary)
        return 0
    print(f"fleet {fleet.fleet} is founded in {args.dir}")
    _print_lines(summary)
    print(
        _NEXT.format(
            fleet=fleet.fleet, host=fleet.hosts[0], port=fleet.port, folder=args.dir
        )
    )
    return 0


def _show(args: argparse.Namespace) -> int:
    summary = summary_of(FleetFolder(args.dir), now=time.time())
    if args.json:
        _print_json(summary)
    else:
        print(f"fleet {summary.fleet} in {args.dir}")
        _print_lines(summary)
    return 0


def _renew(args: argparse.Namespace) -> int:
    now = time.time()
    check_clock(now)
    folder = FleetFolder(args.dir)
    before = folder.fleet
    folder.change(
        Fleet(
            before.fleet,
            _with_loopback(args.host) if args.host else before.hosts,
            before.port if args.port is None else args.port,
        )
    )
    folder.renew(now=now, random=secrets.token_bytes)
    summary = summary_of(folder, now=now)
    if args.json:
        _print_json(summary)
        return 0
    print(f"fleet {summary.fleet} has new certificates for server and broker")
    _print_lines(summary)
    print("\nNext: start broker and server again; devices need nothing.")
    if (before.hosts[0], before.port) != (summary.hosts[0], summary.port):
        print(
            f"Devices that have joined still look for {before.hosts[0]}, port "
            f"{before.port}: keep that name, or let them join again."
        )
    return 0


def _with_loopback(hosts: tuple[str, ...] | list[str]) -> tuple[str, ...]:
    """Return hosts without repetition, and the names that are always there."""
    return tuple(dict.fromkeys((*hosts, *LOOPBACK)))


def _print_json(summary: Summary) -> None:
    print(json.dumps(asdict(summary), indent=1))


def _print_lines(summary: Summary) -> None:
    first, *others = summary.hosts
    claims = ", ".join(f"{count} {state}" for state, count in summary.claims.items())
    for name, value in (
        ("broker", f"{first}, port {summary.port}"),
        ("also as", ", ".join(others)),
        ("authority", f"SHA-256 {summary.authority_sha256}"),
        ("server ends", summary.server_ends),
        ("broker ends", summary.broker_ends),
        ("members", f"{summary.members}, and {summary.revoked} revoked"),
        ("tokens", claims),
    ):
        print(f"  {name:12}{value}")
