"""``edgefed chaos``: break a federation on this machine, and see what it loses."""

import argparse
import asyncio
import json
import logging
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path

from tools.chaos.plan import ChaosPlan
from tools.demo.cli import STOPPED, check_writable
from wire_protocol.errors import ConfigError

_STDOUT = Path("-")
_LOG_WIDTH = 120


def add_commands(
    subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]",
) -> None:
    """Add ``chaos``."""
    usual = ChaosPlan()
    parser = subparsers.add_parser(
        "chaos",
        help="break a federation on this machine, and see what it loses",
        description="Run a broker, a server and agents as real processes, disturb "
        "them, and check that no update was lost and none counted twice.",
    )
    parser.set_defaults(run=run)
    parser.add_argument("--scenario", metavar="NAME[,NAME...]", help="which; or all")
    parser.add_argument("--list", action="store_true", help="list the scenarios")
    parser.add_argument(
        "--seed", type=int, default=usual.seed, help="of everything drawn (%(default)s)"
    )
    parser.add_argument(
        "--devices", type=int, default=usual.devices, help="how many (%(default)s)"
    )
    parser.add_argument(
        "--rounds",
        type=int,
        default=usual.rounds,
        help="at least so many; some scenarios need more (%(default)s)",
    )
    parser.add_argument(
        "--outage-s",
        type=float,
        default=usual.outage_s,
        help="how long broker-outage lasts (%(default)g)",
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=usual.seconds,
        help="how long everything disturbs (%(default)g)",
    )
    parser.add_argument("--folder", type=Path, help="where to work (runs/<time>-chaos)")
    parser.add_argument(
        "--keep", action="store_true", help="keep the files of what passed, too"
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write the figures; - prints them"
    )


def run(args: argparse.Namespace) -> int:
    """Run the scenarios; 0 when none failed."""
    if args.list:
        return _list()
    if args.scenario is None:
        raise ConfigError(
            "chaos needs a --scenario", remedy="name one, or all; see --list"
        )
    plan = ChaosPlan(
        seed=args.seed,
        devices=args.devices,
        rounds=args.rounds,
        outage_s=args.outage_s,
        seconds=args.seconds,
    )
    if args.json != _STDOUT:
        check_writable(args.json)
    # that our own links lose their broker is no news here
    logging.getLogger().addHandler(logging.NullHandler())
    try:
        return asyncio.run(_run(args, plan))
    except asyncio.CancelledError:
        return STOPPED


def _list() -> int:
    from tools.chaos.scenarios import SCENARIOS  # noqa: PLC0415 - heavy

    for scenario in SCENARIOS.values():
        problem = scenario.why_not()
        print(f"{scenario.name:<18}{scenario.summary}")
        if problem:
            print(f"{'':<18}cannot run here: {problem}")
    return 0


async def _run(args: argparse.Namespace, plan: ChaosPlan) -> int:
    # Heavy imports wait until the options are known to be good.
    from rich.console import Console  # noqa: PLC0415

    from tools.chaos.chaos import run_chaos  # noqa: PLC0415
    from tools.chaos.display import (  # noqa: PLC0415
        ChaosDisplay,
        LiveChaosDisplay,
        PlainChaosDisplay,
        report,
    )
    from tools.chaos.scenarios import chosen  # noqa: PLC0415
    from tools.demo.demo import working_runtimes  # noqa: PLC0415

    scenarios = chosen(args.scenario)
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    out = sys.stderr if args.json == _STDOUT else sys.stdout
    # a log needs no line breaks of ours
    console = Console(file=out, width=None if out.isatty() else _LOG_WIDTH)
    display: ChaosDisplay = (
        LiveChaosDisplay(console)
        if console.is_terminal
        else PlainChaosDisplay(lambda text: print(text, file=out, flush=True))
    )
    outcome = await run_chaos(
        plan,
        scenarios,
        folder=args.folder or Path("runs") / f"{datetime.now(UTC):%Y%m%d-%H%M%S}-chaos",
        runtimes=await working_runtimes(),
        display=display,
        keep=args.keep,
    )
    console.print(report(outcome))
    text = json.dumps(outcome.to_json(), indent=2)
    if args.json == _STDOUT:
        print(text)
    elif args.json:
        args.json.write_text(text + "\n")
    return 0 if outcome.passed else 1
