"""``edgefed broker``: write a broker's configuration, run it, check it."""

import argparse
import asyncio
import json
import logging
import os
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

from broker_server.broker_policy.checkup import check_broker
from broker_server.broker_policy.fleet_broker import fleet_broker
from broker_server.broker_policy.kinds import KINDS, Place, write_for
from broker_server.broker_policy.policy_folder import ANYWHERE, Listening
from broker_server.broker_policy.program import Program, installed_program
from broker_server.fleet import DEFAULT_FOLDER
from broker_server.fleet_folder import FleetFolder
from broker_server.stop_signals import StopSignals
from wire_protocol.errors import ConfigError, RefusedError

if TYPE_CHECKING:
    from argparse import _SubParsersAction

_EVERYWHERE: Final = "0.0.0.0"  # noqa: S104 - what a broker is for; TLS guards it


def add_commands(
    subparsers: "_SubParsersAction[argparse.ArgumentParser]",
) -> None:
    """Add ``broker`` and its commands."""
    broker = subparsers.add_parser("broker", help="the fleet's MQTT broker")
    commands = broker.add_subparsers(required=True, metavar="COMMAND")

    init = commands.add_parser("init", help="write a broker's configuration")
    _add_fleet(init)
    init.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    init.add_argument(
        "--kind", choices=KINDS, help="which broker (the mosquitto that is installed)"
    )
    _add_listening(init)
    init.add_argument(
        "--login",
        action="append",
        default=[],
        metavar="DEVICE",
        help="for home-assistant: a device that is yet to join (more than once)",
    )
    init.add_argument("--json", action="store_true", help="print JSON")
    init.set_defaults(run=_init)

    run = commands.add_parser("run", help="run mosquitto for a fleet, and follow it")
    _add_fleet(run)
    run.add_argument(
        "--dir",
        type=Path,
        metavar="FOLDER",
        help="where its configuration is written (broker/ beside the fleet's folder)",
    )
    _add_listening(run)
    run.set_defaults(run=_run)

    check = commands.add_parser(
        "check", help="check a broker's files, and try what it allows and refuses"
    )
    _add_fleet(check)
    check.add_argument("--json", action="store_true", help="print JSON")
    check.set_defaults(run=_check)


def _add_fleet(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--fleet-dir",
        type=Path,
        default=DEFAULT_FOLDER,
        metavar="FOLDER",
        help="what 'edgefed fleet init' made (%(default)s)",
    )


def _add_listening(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--listen",
        default=_EVERYWHERE,
        metavar="ADDRESS",
        help=f"of this machine; '{ANYWHERE}' is IPv6 too ({_EVERYWHERE})",
    )
    parser.add_argument("--port", type=int, help="(the fleet's)")


def _listening(args: argparse.Namespace, fleet: FleetFolder) -> Listening:
    port = fleet.fleet.port if args.port is None else args.port
    return Listening(args.listen, port)


def _init(args: argparse.Namespace) -> int:
    fleet = FleetFolder(args.fleet_dir)
    program = _installed()
    kind = args.kind or f"mosquitto-{program.dialect if program else '2.0'}"
    place = Place(
        fleet,
        args.out,
        _listening(args, fleet),
        os.urandom,
        program.acl_plugin if program else None,
        tuple(args.login),
    )
    written = write_for(kind, place)
    if args.json:
        plain = {
            "kind": kind,
            "folder": str(written.folder),
            "files": written.files,
            "steps": written.steps,
        }
        print(json.dumps(plain, indent=1))
        return 0
    print(f"{written.folder}: {', '.join(written.files)}")
    for number, step in enumerate(written.steps, 1):
        print(f"{number}. {step}")
    return 0


def _installed() -> Program | None:
    try:
        return installed_program()
    except ConfigError:
        return None


def _check(args: argparse.Namespace) -> int:
    logging.getLogger("edgefed.mosquitto").setLevel(logging.CRITICAL)
    fleet = FleetFolder(args.fleet_dir)
    found = asyncio.run(check_broker(fleet, clock=time.time, random=os.urandom))
    well = all(one.well for one in found)
    if args.json:
        plain = {"well": well, "findings": [asdict(one) for one in found]}
        print(json.dumps(plain, indent=1))
    else:
        for one in found:
            mark = "ok " if one.well else "BAD"
            tail = f" - {one.remedy}" if one.remedy else ""
            print(f"{mark}  {one.name}: {one.told}{tail}")
    return 0 if well else RefusedError.exit_code


def _run(args: argparse.Namespace) -> int:
    fleet = FleetFolder(args.fleet_dir)
    folder = args.dir or args.fleet_dir.absolute().parent / "broker"
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(message)s"
    )
    logging.getLogger("edgefed.mosquitto").setLevel(logging.DEBUG)
    return asyncio.run(_until_signal(fleet, folder, _listening(args, fleet)))


async def _until_signal(fleet: FleetFolder, folder: Path, where: Listening) -> int:
    stop = StopSignals()
    async with fleet_broker(fleet, folder, listening=where) as broker:
        logging.getLogger("edgefed.broker").info(
            "%s for fleet %s on %s port %d",
            broker.program.label,
            fleet.fleet.fleet,
            broker.listening.address,
            broker.port,
        )
        await stop.came.wait()
    return stop.exit_code
