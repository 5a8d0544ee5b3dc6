"""``edgefed doctor``: measure what works here, and say what to do about the rest."""

import argparse
import asyncio
import json
import logging
import sys
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Literal, TypeAlias

from tools.doctor.examination import Check, chosen, examination
from tools.doctor.findings import Entry, Finding, exit_code, failed, ok, to_json
from tools.doctor.report import Report
from wire_protocol.errors import ConfigError, EdgefedError

Side: TypeAlias = Literal["device", "server"]
FindArtifact: TypeAlias = Callable[[str], Path]
_SECTIONS: Final[dict[Side, str]] = {"device": "agent", "server": "server"}


def add_commands(
    subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]",
    find_artifact: FindArtifact,
) -> None:
    """Add ``doctor``; ``find_artifact`` maps a name to a folder."""
    parser = subparsers.add_parser(
        "doctor",
        help="measure what works here, and say what to do",
        description="Check this machine and what the broker really allows, for an "
        "agent or a server. Changes nothing. Ends with 1 if something failed.",
    )
    parser.add_argument(
        "--config", type=Path, required=True, metavar="FILE", help="agent's or server's"
    )
    side = parser.add_mutually_exclusive_group()
    for name in _SECTIONS:
        side.add_argument(
            f"--{name}",
            dest="side",
            action="store_const",
            const=name,
            help=f"it is a {name}'s, whatever the file looks like",
        )
    parser.add_argument(
        "--only",
        metavar="NAME[,NAME...]",
        help="make only these checks, and those they need",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=lambda args: run(args, find_artifact))


def run(args: argparse.Namespace, find_artifact: FindArtifact) -> int:
    """Examine; 0 when nothing failed."""
    # what links and sources log meanwhile is found and told in our own words
    logging.getLogger().addHandler(logging.NullHandler())
    side: Side = args.side or side_of(args.config)
    report = Report(sys.stderr if args.json else sys.stdout)
    entries = asyncio.run(
        _examine(
            args.config,
            side,
            only=args.only.split(",") if args.only else [],
            report=report,
            find_artifact=find_artifact,
        )
    )
    findings = [entry.finding for entry in entries]
    if args.json:
        print(json.dumps(to_json(side, entries), indent=2))
    else:
        report.end(findings)
    return exit_code(findings)


async def _examine(
    path: Path,
    side: Side,
    *,
    only: list[str],
    report: Report,
    find_artifact: FindArtifact,
) -> list[Entry]:
    finding, checks = _configuration(path, side, find_artifact=find_artifact)
    if only and checks:
        checks = chosen(checks, only)
    entries = [Entry("configuration", finding)]
    report.tell(entries[0])
    async for entry in examination(checks, begun=report.begun):
        report.tell(entry)
        entries.append(entry)
    return entries


def _configuration(
    path: Path, side: Side, *, find_artifact: FindArtifact
) -> tuple[Finding, Sequence[Check]]:
    """Read the configuration; return what was found, and what else is to be checked."""
    try:
        if side == "device":
            from edge_agent.config import load_config as load_agent  # noqa: PLC0415 - only the side that is asked for
            from tools.doctor.device_checks import device_checks  # noqa: PLC0415

            agent = load_agent(path)
            told = f"device {agent.agent.device} of fleet {agent.agent.fleet}"
            return ok(f"{path}: {told}"), device_checks(agent)
        from broker_server.config import load_config as load_server  # noqa: PLC0415
        from tools.doctor.server_checks import server_checks  # noqa: PLC0415

        server = load_server(path)
        told = f"server of fleet {server.server.fleet}"
        return ok(f"{path}: {told}"), server_checks(server, find_artifact=find_artifact)
    except EdgefedError as error:
        remedy = error.remedy or "correct the file; firmware_configs/examples shows it"
        return failed(error.problem, remedy=remedy), ()


def side_of(path: Path) -> Side:
    """Return whose configuration ``path`` is, by its sections.

    Raises:
        ConfigError: It cannot be read, or is of neither or both.
    """
    try:
        sections = tomllib.loads(path.read_bytes().decode())
    except (OSError, ValueError, RecursionError) as error:
        told = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(
            f"{path} cannot be read: {told}",
            remedy="name an agent's or a server's configuration with --config",
        ) from error
    found = [side for side, section in _SECTIONS.items() if section in sections]
    if len(found) != 1:
        have = "both" if found else "neither"
        raise ConfigError(
            f"{path} has {have} of the sections [agent] and [server]",
            remedy="say whose it is with --device or --server",
        )
    return found[0]
