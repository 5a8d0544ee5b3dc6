"""``edgefed devices``: let devices join, look at them, lock them out."""

import argparse
import json
import os
import secrets
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from broker_server.config import load_config
from broker_server.enrolment_rules import check_clock
from broker_server.fleet import DEFAULT_FOLDER
from broker_server.fleet_folder import FleetFolder
from broker_server.join_tokens import open_claims
from broker_server.store import DATABASE, Store
from tools.devices.durations import seconds_of
from tools.devices.listing import (
    NOTHING,
    Device,
    Known,
    device_of,
    table,
    tokens_of,
)
from tools.fleet.summary import claim_state, when
from wire_protocol.errors import ConfigError, RefusedError

if TYPE_CHECKING:
    from argparse import _SubParsersAction

_MAX_LABEL = 64
_MAX_WHY = 256


def add_commands(
    subparsers: "_SubParsersAction[argparse.ArgumentParser]",
) -> None:
    """Add ``devices`` and its commands."""
    devices = subparsers.add_parser(
        "devices", help="let devices join, look at them, lock them out"
    )
    commands = devices.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, told: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=told)
        where = command.add_mutually_exclusive_group()
        where.add_argument(
            "--fleet-dir",
            type=Path,
            default=DEFAULT_FOLDER,
            metavar="FOLDER",
            help="the fleet's folder (%(default)s)",
        )
        where.add_argument(
            "--config", type=Path, metavar="FILE", help="server.toml, which names it"
        )
        command.add_argument("--json", action="store_true", help="print JSON")
        return command

    join = add("join", "make a token, with which a device may join once")
    join.add_argument(
        "--for",
        dest="duration",
        default="10m",
        metavar="TIME",
        help="how long it holds: 30s, 10m, 2h, up to 24h (%(default)s)",
    )
    join.add_argument(
        "--device", default="", metavar="NAME", help="the id it is for (of its choice)"
    )
    join.add_argument(
        "--count", type=int, default=1, help="how many tokens (%(default)s)"
    )
    join.add_argument(
        "--out", type=Path, metavar="FILE", help="a new file for them, one a line"
    )
    join.set_defaults(run=_join)

    add("list", "show all devices").set_defaults(run=_list)

    show = add("show", "show all that is known of a device")
    show.add_argument("device", metavar="NAME")
    show.set_defaults(run=_show)

    revoke = add("revoke", "lock a device out, at once and for ever")
    revoke.add_argument("device", metavar="NAME")
    revoke.add_argument("--why", default="", metavar="TEXT", help="for the records")
    revoke.set_defaults(run=_revoke)

    rename = add("rename", "change what people call a device")
    rename.add_argument("device", metavar="NAME")
    rename.add_argument("label", metavar="LABEL")
    rename.set_defaults(run=_rename)

    release = add("release", "let a device out of quarantine")
    release.add_argument("device", metavar="NAME")
    release.set_defaults(run=_release)

    forget = add("forget", "lock a device out and free its id")
    forget.add_argument("device", metavar="NAME")
    forget.set_defaults(run=_forget)

    claims = add("claims", "show the tokens of late, or withdraw one")
    claims.add_argument("--withdraw", metavar="CLAIM", help="which nobody shall use")
    claims.set_defaults(run=_claims)


def _folder(args: argparse.Namespace) -> FleetFolder:
    if args.config is None:
        return FleetFolder(args.fleet_dir)
    fleet_dir = load_config(args.config).security.fleet_dir
    if fleet_dir is None:
        raise ConfigError(
            f"{args.config} names no fleet, so everybody on this machine may take part",
            remedy="make one with 'edgefed fleet init', and set [security] fleet_dir",
        )
    return FleetFolder(fleet_dir)


def _known(args: argparse.Namespace) -> Known:
    """Return what the server remembers of devices, if it is asked and has run."""
    if args.config is None:
        return NOTHING
    state_dir = load_config(args.config).server.state_dir
    if not (state_dir / DATABASE).is_file():
        return NOTHING
    with Store.open(state_dir, readonly=True) as store:
        return Known(
            records={one.device: one for one in store.devices()},
            reputations={one.device: one for one in store.reputations()},
            round=store.newest_round(),
        )


def _join(args: argparse.Namespace) -> int:
    now = time.time()
    check_clock(now)
    if args.out is None and (args.json or args.count != 1):
        raise ConfigError(
            "a token is a secret and no part of JSON"
            if args.json
            else f"{args.count} tokens are too many for a screen",
            remedy="name a file for it with --out",
        )
    folder = _folder(args)
    out = None if args.out is None else _new_file(args.out)
    try:
        made = open_claims(
            folder,
            count=args.count,
            device=args.device,
            for_s=seconds_of(args.duration),
            now=now,
            random=secrets.token_bytes,
        )
    except BaseException:
        if out is not None:
            os.close(out)
            args.out.unlink()
        raise
    until = when(made[0][0].until)
    if out is None:
        print(made[0][1])
    else:
        with os.fdopen(out, "w") as file:
            file.writelines(f"{token}\n" for _, token in made)
    if args.json:
        plain = [
            {"claim": claim.claim, "device": claim.device, "until": until}
            for claim, _ in made
        ]
        print(json.dumps({"out": str(args.out), "claims": plain}, indent=1))
    else:
        _hint(args, until=until)
    return 0


def _new_file(path: Path) -> int:
    """Return a descriptor of a new file that only we may read."""
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise RefusedError(
            f"{path} cannot be made: {error.strerror}", remedy="name a new file"
        ) from error


def _hint(args: argparse.Namespace, *, until: str) -> None:
    who = args.device or "a device"
    where = "this token" if args.out is None else f"a line of {args.out}"
    sys.stderr.write(
        f"{who} may join with {where} once, until {until}. On the device:\n"
        "  edgefed agent join --config agent.toml --token-file FILE\n"
        "Whoever has it first is the device: do not leave it lying about.\n"
    )


def _list(args: argparse.Namespace) -> int:
    known = _known(args)
    devices = [device_of(member, known) for member in _folder(args).members().values()]
    if args.json:
        print(json.dumps([asdict(one) for one in devices], indent=1))
        return 0
    titles = (
        *("device", "label", "state", "standing", "certificate ends"),
        *("last seen", "examples", "hardware"),
    )
    rows = (
        (
            *(one.device, one.label, one.state, one.standing, one.certificate_ends),
            *(one.last_seen, one.num_examples, one.hardware),
        )
        for one in devices
    )
    print(table(titles, rows))
    return 0


def _show(args: argparse.Namespace) -> int:
    member = _folder(args).known_member(args.device)
    _print_device(args, device_of(member, _known(args)))
    return 0


def _print_device(args: argparse.Namespace, device: Device) -> None:
    plain = asdict(device)
    if args.json:
        print(json.dumps(plain, indent=1))
        return
    reputation = plain.pop("reputation") or {}
    for name, value in {**plain, **reputation}.items():
        shown = "-" if value in (None, "") else value
        print(f"{name.replace('_', ' '):18}{shown}")


def _revoke(args: argparse.Namespace) -> int:
    _check_text(args.why, what="--why", longest=_MAX_WHY)
    folder = _folder(args)
    member = folder.revoke(args.device, why=args.why, now=time.time())
    if args.json:
        _print_device(args, device_of(member, NOTHING))
        return 0
    print(
        f"{args.device} is revoked, since {when(member.revoked)}.\n"
        "The server drops what it sends from now on, and no round waits for it. A "
        "broker that 'edgefed broker run' started ends its session; any other "
        "must read revoked.crl again.\n"
        f"Its id stays taken; 'edgefed devices forget {args.device}' frees it."
    )
    return 0


def _rename(args: argparse.Namespace) -> int:
    _check_text(args.label, what="a label", longest=_MAX_LABEL, least=1)
    folder = _folder(args)
    with folder.locked():
        member = replace(folder.known_member(args.device), label=args.label)
        folder.keep_member(member)
    if args.json:
        _print_device(args, device_of(member, NOTHING))
        return 0
    print(
        f"{args.device} is called {args.label}; its id stays {args.device}, in its "
        "certificate and its topics."
    )
    return 0


def _release(args: argparse.Namespace) -> int:
    _folder(args).pardon(args.device)
    if args.json:
        print(json.dumps({"device": args.device, "state": "released"}))
        return 0
    print(
        f"The server lets {args.device} out of quarantine, and forgets what stood "
        "against it, now or when it starts."
    )
    return 0


def _forget(args: argparse.Namespace) -> int:
    folder = _folder(args)
    with folder.locked():
        folder.forget_member(folder.known_member(args.device))
        folder.write_revoked()
    if args.json:
        print(json.dumps({"device": args.device, "state": "forgotten"}))
        return 0
    print(
        f"{args.device} is forgotten: its certificates hold no more, and its id is "
        "free.\nThe server forgets what it knew of it, and clears what the broker "
        "keeps, now or when it starts. Its updates stay counted."
    )
    return 0


def _claims(args: argparse.Namespace) -> int:
    folder, now = _folder(args), time.time()
    if args.withdraw is not None:
        return _withdraw(args, folder, now=now)
    tokens = tokens_of(folder.claims().values(), folder.members(), now=now)
    if args.json:
        print(json.dumps([asdict(one) for one in tokens], indent=1))
        return 0
    rows = ((one.claim, one.state, one.until, one.device) for one in tokens)
    print(table(("claim", "state", "until", "device"), rows))
    return 0


def _withdraw(args: argparse.Namespace, folder: FleetFolder, *, now: float) -> int:
    with folder.locked():
        claim = folder.claims().get(args.withdraw)
        if claim is None:
            raise ConfigError(
                f"there is no claim {args.withdraw!r:.60}",
                remedy="edgefed devices claims shows them",
            )
        if claim_state(claim, now=now) == "used":
            raise RefusedError(
                f"{claim.claim} was used already",
                remedy="lock out who used it: edgefed devices revoke",
            )
        folder.withdraw_claim(claim)
        folder.write_revoked()
    if args.json:
        print(json.dumps({"claim": claim.claim, "state": "withdrawn"}))
    else:
        print(f"{claim.claim} is withdrawn: its token opens nothing any more")
    return 0


def _check_text(text: str, *, what: str, longest: int, least: int = 0) -> None:
    if not (least <= len(text) <= longest and text.isprintable()):
        raise ConfigError(
            f"{what} has {least} to {longest} characters that can be printed",
            remedy="choose another text",
        )
