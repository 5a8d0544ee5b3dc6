"""``edgefed agent join`` and ``identity``: become a member of a fleet, and show it."""

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import sha256

from edge_agent.config import load_config
from edge_agent.joining.claim import read_claim, token_from, wipe
from edge_agent.joining.joining import Attempt, identity_folder, join
from edge_agent.membership import IdentityFolder
from edge_agent.state_files import held_alone
from wire_protocol.certificates import read_certificate
from wire_protocol.errors import ConfigError, DecodeError


def run_join(args: argparse.Namespace) -> int:
    """Join, wipe the token, and tell who we are now."""
    config = load_config(args.config)
    identity = identity_folder(config)
    if args.timeout <= 0:
        raise ConfigError(
            f"a timeout is above 0 seconds, not {args.timeout:g}",
            remedy="60 is enough where the server runs",
        )
    with held_alone(config.agent.state_dir), _tidy_end():
        claim = read_claim(token_from(args.token_file))
        attempt = Attempt(os.urandom, timeout_s=args.timeout, anew=args.anew)
        asyncio.run(join(config, claim, attempt=attempt))
    if args.token_file is not None:
        try:
            wipe(args.token_file)
        except OSError as error:
            sys.stderr.write(
                f"edgefed: {args.token_file} cannot be removed: {error.strerror} - "
                "remove it; it is of no more use\n"
            )
    _show(identity, as_json=args.json)
    if not args.json:
        sys.stderr.write(f"now: edgefed agent run --config {args.config}\n")
    return 0


@contextlib.contextmanager
def _tidy_end() -> Iterator[None]:
    """Take SIGTERM for Ctrl-C: what connects us as the claim must not stay behind."""
    before = signal.signal(
        signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT)
    )
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def run_identity(args: argparse.Namespace) -> int:
    """Tell who this device is; nothing secret."""
    _show(identity_folder(load_config(args.config)), as_json=args.json)
    return 0


def described(identity: IdentityFolder) -> dict[str, object]:
    """Return who a device is, for people and programs; nothing secret.

    Raises:
        ConfigError: It has joined no fleet, or a file is damaged.
    """
    member = identity.membership()
    path = identity.path / "device.crt"
    try:
        certificate = read_certificate(path.read_bytes())
    except (OSError, DecodeError) as error:
        raise ConfigError(
            f"{path} cannot be read: {error}",
            remedy="join again: edgefed agent join --anew",
        ) from error
    return {
        "fleet": member.fleet,
        "device": member.device,
        "host": member.host,
        "port": member.port,
        "certificate_ends": datetime.fromtimestamp(
            certificate.not_after, UTC
        ).isoformat(),
        "fingerprint": sha256(certificate.der).hexdigest(),
        "fleet_fingerprint": sha256(bytes.fromhex(member.fleet_key)).hexdigest(),
        "identity_dir": str(identity.path),
    }


def _show(identity: IdentityFolder, *, as_json: bool) -> None:
    found = described(identity)
    if as_json:
        print(json.dumps(found, indent=2))
        return
    for what, value in (
        ("fleet", found["fleet"]),
        ("device", found["device"]),
        ("broker", f"{found['host']}:{found['port']}"),
        ("until", f"{found['certificate_ends']}; renewed before that by itself"),
        ("fingerprint", found["fingerprint"]),
        ("fleet's key", found["fleet_fingerprint"]),
        ("kept in", found["identity_dir"]),
    ):
        print(f"{what:<14}{value}")
