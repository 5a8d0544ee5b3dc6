"""``edgefed agent``: take part in a federation, and tell what is here for it."""

import argparse
import asyncio
import json
import logging
import signal
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import edge_agent.postponed  # noqa: F401 - before all that imports paho
from edge_agent.allocator import share_one_arena
from edge_agent.config import AgentConfig, load_config
from edge_agent.feeding import Fed, open_examples
from edge_agent.memory import first_connection
from edge_agent.presence import link_settings
from edge_agent.probe import Finding, candidates, probe, working_runtime
from edge_agent.runtimes import RUNTIMES
from edge_agent.service import Service
from edge_agent.state_files import StateFiles, held_alone
from wire_protocol.envelope import Seal, as_it_is
from wire_protocol.errors import INTERRUPTED, TrainingError
from wire_protocol.link import Link
from wire_protocol.mqtt import MqttLink
from wire_protocol.sealed_link import SealedLink
from wire_protocol.topics import Topics

if TYPE_CHECKING:
    from edge_agent.membership import IdentityFolder

log = logging.getLogger("edge_agent")


def add_commands(
    subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]",
) -> None:
    """Add ``agent`` and its leaves."""
    group = subparsers.add_parser("agent", help="take part in a federation")
    leaves = group.add_subparsers(required=True, metavar="COMMAND")

    leaf = leaves.add_parser("run", help="take part until told to stop")
    leaf.add_argument("--config", type=Path, required=True, metavar="FILE")
    leaf.set_defaults(run=_run)

    leaf = leaves.add_parser("join", help="become a member of a fleet, with a token")
    leaf.add_argument("--config", type=Path, required=True, metavar="FILE")
    leaf.add_argument(
        "--token-file",
        type=Path,
        metavar="FILE",
        help="the token, wiped once it is used; without it, from standard input",
    )
    leaf.add_argument(
        "--timeout", type=float, default=60.0, metavar="SECONDS", help="60 if not given"
    )
    leaf.add_argument(
        "--anew", action="store_true", help="give up a membership there is already"
    )
    leaf.add_argument("--json", action="store_true", help="print JSON")
    leaf.set_defaults(run=_join)

    leaf = leaves.add_parser("identity", help="tell who this device is in its fleet")
    leaf.add_argument("--config", type=Path, required=True, metavar="FILE")
    leaf.add_argument("--json", action="store_true", help="print JSON")
    leaf.set_defaults(run=_identity)

    leaf = leaves.add_parser("probe", help="tell which runtimes work on this device")
    leaf.add_argument(
        "--config", type=Path, metavar="FILE", help="try only what this file allows"
    )
    leaf.add_argument("--json", action="store_true", help="print JSON")
    leaf.set_defaults(run=_probe)

    leaf = leaves.add_parser("examples", help="tell what this device learns from")
    leaf.add_argument("--config", type=Path, required=True, metavar="FILE")
    leaf.add_argument("--json", action="store_true", help="print JSON")
    leaf.set_defaults(run=_examples)


def _run(args: argparse.Namespace) -> int:
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s"
    )
    share_one_arena()
    config = load_config(args.config)
    identity = _identity_of(config)
    link_settings(config, identity=identity)  # what is wrong with it is told at once
    with held_alone(config.agent.state_dir):
        files = StateFiles(config.agent.state_dir)
        examples = open_examples(config.data, files=files)
        return asyncio.run(_serve(config, examples, files=files, identity=identity))


def _identity_of(config: AgentConfig) -> "IdentityFolder | None":
    """Return what makes this device a member, if it is to be one."""
    if config.security.identity_dir is None:
        return None
    # what signs takes a megabyte, which a federation on one machine can do without
    from edge_agent.membership import IdentityFolder  # noqa: PLC0415

    return IdentityFolder(config.security.identity_dir)


async def _serve(
    config: AgentConfig,
    examples: Fed,
    *,
    files: StateFiles,
    identity: "IdentityFolder | None",
) -> int:
    """Serve until a signal comes; return 0 after SIGTERM, 130 after SIGINT."""
    told: list[signal.Signals] = []
    ending = asyncio.Event()

    def end(number: signal.Signals) -> None:
        told.append(number)
        ending.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, end, number)
    probing = asyncio.create_task(
        working_runtime(candidates(config.agent.runtime), files=files)
    )
    told_to_end = asyncio.create_task(ending.wait())
    await asyncio.wait({probing, told_to_end}, return_when=asyncio.FIRST_COMPLETED)
    told_to_end.cancel()
    if probing.done():
        await _take_part(
            config,
            examples,
            runtime=probing.result(),
            files=files,
            identity=identity,
            ending=ending,
        )
    else:
        probing.cancel()
        await asyncio.wait({probing})
    return INTERRUPTED if signal.SIGINT in told else 0


async def _take_part(
    config: AgentConfig,
    examples: Fed,
    *,
    runtime: Finding,
    files: StateFiles,
    identity: "IdentityFolder | None",
    ending: asyncio.Event,
) -> None:
    log.info(
        "%s trains with %s on %d examples of %s",
        config.agent.device,
        runtime.label,
        examples.store.count(),
        examples.store.source,
    )
    settings = link_settings(
        config, first_connection=first_connection(files), identity=identity
    )
    topics = Topics(config.agent.fleet)
    async with MqttLink(settings) as plain:
        link: Link = plain
        seal: Seal = as_it_is
        renewal = None
        if identity is not None:
            from edge_agent.renewal import Renewal  # noqa: PLC0415 - the same

            link = SealedLink(plain, topics=topics, unseal=identity.verifier().unseal)
            seal = identity.signer.seal
            renewal = Renewal(link, topics=topics, identity=identity, seal=seal)
        service = Service(
            link,
            config=config,
            store=examples.store,
            feed=examples.feed,
            runtime=runtime,
            files=files,
            seal=seal,
            renewal=renewal,
        )
        await service.run(ending)


def _join(args: argparse.Namespace) -> int:
    from edge_agent.joining.cli import run_join  # noqa: PLC0415 - loads cryptography

    return run_join(args)


def _identity(args: argparse.Namespace) -> int:
    from edge_agent.joining.cli import run_identity  # noqa: PLC0415 - the same

    return run_identity(args)


def _probe(args: argparse.Namespace) -> int:
    choice = load_config(args.config).agent.runtime if args.config else "auto"
    findings = [asyncio.run(probe(runtime)) for runtime in candidates(choice)]
    if args.json:
        plain = [
            {
                "runtime": finding.runtime.name,
                "version": finding.version,
                "works": not finding.problem,
                "problem": finding.problem,
            }
            for finding in findings
        ]
        print(json.dumps(plain, indent=2))
    else:
        for finding in findings:
            print(f"{finding.label:<44}{finding.problem or 'works'}")
    if all(finding.problem for finding in findings):
        names = ", ".join(runtime.distribution for runtime in RUNTIMES.values())
        raise TrainingError(
            "no runtime works here", remedy=f"pip install one of {names}"
        )
    return 0


def _examples(args: argparse.Namespace) -> int:
    from edge_agent.holdings import holdings  # noqa: PLC0415 - an agent needs it not

    logging.basicConfig(format="%(message)s")
    config = load_config(args.config)
    found = holdings(config.data, config.agent.state_dir)
    if args.json:
        print(json.dumps(asdict(found), indent=2))
        return 0
    names = {number: name for name, number in config.data.labels.classes.items()}
    mix = ", ".join(
        f"{names.get(number, number)} {count}"
        for number, count in found.classes.items()
    )
    age = "none" if found.newest_age_s is None else f"{found.newest_age_s:.0f} s ago"
    for what, value in (
        ("from", found.source),
        ("to train on", found.training),
        ("held out", found.holdout),
        ("shape", list(found.shape) if found.shape else "none yet"),
        ("targets", found.targets),
        ("classes", mix or "none"),
        ("on disk", f"{found.bytes_on_disk} bytes"),
        ("newest", age),
    ):
        print(f"{what:<14}{value}")
    return 0
