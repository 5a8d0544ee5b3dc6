"""``edgefed server``: run the aggregator, and look at what it recorded."""

import argparse
import asyncio
import json
import logging
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from broker_server.artifact import load_artifact
from broker_server.backup import back_up, restore
from broker_server.config import ServerConfig, load_config
from broker_server.records import RoundRecord
from broker_server.reputation import Reputation
from broker_server.serving import serve
from broker_server.stop_signals import StopSignals
from broker_server.store import Store
from broker_server.version_log import spans
from wire_protocol.errors import ConfigError

if TYPE_CHECKING:
    from argparse import _SubParsersAction


def add_commands(
    subparsers: "_SubParsersAction[argparse.ArgumentParser]",
    find_artifact: Callable[[str], Path],
) -> None:
    """Add ``server`` and its commands; ``find_artifact`` maps a name to a folder."""
    server = subparsers.add_parser("server", help="the aggregator")
    commands = server.add_subparsers(required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="run the aggregator until it is stopped")
    _add_config(run)
    run.set_defaults(run=lambda args: _run(args, find_artifact))

    rounds = commands.add_parser("rounds", help="show the rounds so far")
    _add_config(rounds)
    rounds.add_argument("--json", action="store_true", help="print JSON")
    rounds.set_defaults(run=_rounds)

    ledger = commands.add_parser(
        "ledger", help="show what became of every accepted update"
    )
    _add_config(ledger)
    ledger.add_argument("--json", action="store_true", help="print JSON")
    ledger.set_defaults(run=_ledger)

    devices = commands.add_parser(
        "devices", help="show every device, its conduct, and who is in quarantine"
    )
    _add_config(devices)
    devices.add_argument("--json", action="store_true", help="print JSON")
    devices.set_defaults(run=_devices)

    backup = commands.add_parser(
        "backup", help="write the state to one file, also while the server runs"
    )
    _add_config(backup)
    backup.add_argument("--out", type=Path, required=True, metavar="FILE.tar")
    backup.set_defaults(run=_backup)

    restored = commands.add_parser(
        "restore", help="bring a backup into a state folder that is empty"
    )
    _add_config(restored)
    restored.add_argument(
        "--from", dest="archive", type=Path, required=True, metavar="FILE.tar"
    )
    restored.set_defaults(run=_restore)

    export = commands.add_parser(
        "export", help="write a version's parameters, by name, as NPZ"
    )
    _add_config(export)
    export.add_argument("--version", type=int, help="which one (the newest)")
    export.add_argument("--out", type=Path, required=True, metavar="FILE")
    export.set_defaults(run=lambda args: _export(args, find_artifact))


def _add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config", type=Path, required=True, metavar="FILE", help="server.toml"
    )


def _run(args: argparse.Namespace, find_artifact: Callable[[str], Path]) -> int:
    config = load_config(args.config)
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(message)s"
    )
    return asyncio.run(_serve_until_signal(config, find_artifact))


async def _serve_until_signal(
    config: ServerConfig, find_artifact: Callable[[str], Path]
) -> int:
    stop = StopSignals()
    await serve(config, find_artifact=find_artifact, stop=stop.came)
    return stop.exit_code


def _rounds(args: argparse.Namespace) -> int:
    config = load_config(args.config)
    with Store.open(config.server.state_dir, readonly=True) as store:
        records = store.rounds()
    if args.json:
        print(json.dumps([_plain(record) for record in records], indent=1))
        return 0
    print(
        _row(
            "round",
            "outcome",
            "cause",
            "devices",
            "late",
            "carried",
            "loss",
            "metric",
            "up",
            "down",
            "s",
        )
    )
    for record in records:
        print(
            _row(
                record.round,
                record.outcome,
                record.cause or "-",
                f"{len(record.participants)}/{len(record.cohort)}",
                record.late,
                record.carried,
                _number(record.loss, ".4g"),
                _number(record.metric, ".4f"),
                record.bytes_up,
                record.bytes_down,
                _number(record.seconds, ".2f"),
            )
        )
    return 0


def _ledger(args: argparse.Namespace) -> int:
    config = load_config(args.config)
    with Store.open(config.server.state_dir, readonly=True) as store:
        entries = store.ledger()
    count = Counter(entry.state for entry in entries)
    totals = {
        "accepted": len(entries),
        "merged": count["merged"],
        "pending": count["pending"],
        "given_up": count["given up"],
    }
    if args.json:
        plain = [{**asdict(entry), "state": entry.state} for entry in entries]
        print(json.dumps({**totals, "updates": plain}, indent=1))
        return 0
    print(_row("round", "base", "state", "version"), " transfer          device")
    for entry in entries:
        version = "-" if entry.merged_version is None else entry.merged_version
        row = _row(entry.round, entry.base, entry.state, version)
        print(row, f" {entry.transfer:16}  {entry.device}")
    print(
        "{accepted} accepted = {merged} merged + {pending} pending"
        " + {given_up} given up".format(**totals)
    )
    return 0


def _devices(args: argparse.Namespace) -> int:
    config = load_config(args.config)
    with Store.open(config.server.state_dir, readonly=True) as store:
        number = store.newest_round()
        records = {one.device: one for one in store.devices()}
        conduct = {one.device: one for one in store.reputations()}
    shown = [
        conduct.get(name, Reputation(name))
        for name in sorted(records.keys() | conduct.keys())
    ]
    if args.json:
        plain = [
            {
                **(asdict(records[one.device]) if one.device in records else {}),
                **asdict(one),
                "standing": one.standing(number),
                "sentence": one.sentence,
            }
            for one in shown
        ]
        print(json.dumps({"round": number, "devices": plain}, indent=1))
        return 0
    print(_row("standing", "until", "merged", "faults", "offences"), " device")
    for one in shown:
        standing = one.standing(number)
        until = one.until if standing == "quarantined" else "-"
        row = _row(standing, until, one.judged, one.faults, one.offences)
        reason = one.sentence if standing in ("quarantined", "probation") else ""
        print(f"{row}  {one.device}{reason and f': {reason}'}")
    return 0


def _backup(args: argparse.Namespace) -> int:
    config = load_config(args.config)
    written = back_up(config.server.state_dir, args.out)
    print(f"{args.out}: the database and {written.blobs} blobs, {written.size} bytes")
    return 0


def _restore(args: argparse.Namespace) -> int:
    config = load_config(args.config)
    found = restore(args.archive, config.server.state_dir)
    print(f"{config.server.state_dir}: the database and {found.blobs} blobs")
    return 0


def _export(args: argparse.Namespace, find_artifact: Callable[[str], Path]) -> int:
    config = load_config(args.config)
    manifest = load_artifact(find_artifact(config.model.artifact)).manifest
    with Store.open(config.server.state_dir, readonly=True) as store:
        versions = store.rebuildable()
        if not versions:
            raise ConfigError(
                f"{config.server.state_dir} holds no version yet",
                remedy="start 'edgefed server run' first",
            )
        version = versions[-1] if args.version is None else args.version
        if version < 0:
            raise ConfigError(
                f"--version is 0 or more, not {version}",
                remedy=f"the store has {spans(versions)}",
            )
        vector = store.params(version)
    names = [spec.name for spec in manifest.layout.specs]
    tensors = dict(zip(names, manifest.layout.split(vector), strict=True))
    try:
        with args.out.open("wb") as file:
            np.savez(file, allow_pickle=False, **tensors)
    except OSError as error:
        raise ConfigError(
            f"{args.out} cannot be written: {error.strerror}",
            remedy="name another --out",
        ) from error
    print(f"version {version}, {vector.size} parameters: {args.out}")
    return 0


def _plain(record: RoundRecord) -> dict[str, Any]:
    return {
        **asdict(record),
        "runtimes": record.runtimes,
        "late": record.late,
        "carried": record.carried,
        "loss": record.loss,
        "evaluation_loss": record.evaluation_loss,
        "metric": record.metric,
        "bytes_up": record.bytes_up,
        "bytes_down": record.bytes_down,
        "overhead_seconds": record.overhead_seconds,
    }


def _row(*cells: object) -> str:
    return "  ".join(f"{cell!s:>9}" for cell in cells)


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
