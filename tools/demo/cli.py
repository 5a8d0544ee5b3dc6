"""``edgefed demo``: a whole federation of real processes on this machine."""

import argparse
import asyncio
import json
import os
import signal
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from wire_protocol.errors import ConfigError

if TYPE_CHECKING:
    from tools.demo.display import Display
    from tools.demo.plan import DemoPlan

STOPPED = 128 + signal.SIGTERM


def add_commands(
    subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]",
) -> None:
    """Add ``demo``."""
    parser = subparsers.add_parser(
        "demo",
        help="run a whole federation on this machine",
        description="Start a broker, a server and one agent process for every device; "
        "train a model on real data with both runtimes; show it, and write a report.",
    )
    parser.set_defaults(run=run)
    parser.add_argument(
        "--data",
        help="data set, such as digits, sp-sw-har or mnist-by-writer; or a folder with "
        "your data.py (digits)",
    )
    parser.add_argument(
        "--model", help="model of the zoo, or your own folder (the data set's own)"
    )
    parser.add_argument("--devices", type=int, help="how many (6, or natural clients)")
    parser.add_argument("--rounds", type=int, help="at most this many")
    parser.add_argument("--codec", help="uplink codec: uq, uq:4, int8, f16, f32 (uq)")
    parser.add_argument("--downlink", help="downlink codec (uq:1)")
    parser.add_argument("--seed", type=int, help="of everything drawn (0)")
    parser.add_argument(
        "--unseen", action="store_true", help="judge on people who never train"
    )
    parser.add_argument(
        "--preset",
        choices=("quick", "seed"),
        default="quick",
        help="seed: the textbook case, 10 devices, 5 drawn for each of at most 100 "
        "rounds, 10 local epochs, learning rate 0.01, until it converges",
    )
    parser.add_argument("--fraction", type=float, help="part drawn for a round (1)")
    parser.add_argument("--epochs", type=int, help="local passes in a round")
    parser.add_argument("--learning-rate", type=float, help="of local training")
    parser.add_argument("--momentum", type=float, help="of local training")
    parser.add_argument("--mu", type=float, help="FedProx's proximal weight (0)")
    parser.add_argument(
        "--partition",
        help="natural, iid, dirichlet:ALPHA or shards:EACH (natural, or dirichlet:0.3)",
    )
    parser.add_argument("--alpha", type=float, help="short for dirichlet:ALPHA")
    parser.add_argument(
        "--shift", type=float, help="how differently sensors read, 0 to 3 (0)"
    )
    parser.add_argument("--patience", type=int, help="stop after so many flat rounds")
    parser.add_argument(
        "--no-compare",
        dest="compare",
        action="store_false",
        help="leave out training alone and centrally",
    )
    parser.add_argument(
        "--secure",
        dest="protection",
        action="store_const",
        const="tls",
        help="as across machines: TLS, an identity for every device, signatures",
    )
    parser.add_argument(
        "--broker", choices=("auto", "mosquitto", "amqtt"), default="auto"
    )
    parser.add_argument(
        "--folder", type=Path, help="where to work (runs/<time>-<data>)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")


def run(args: argparse.Namespace) -> int:
    """Run the demo; the last line names the report."""
    plan = _plan(args)
    check_writable(args.json)
    folder = args.folder or Path("runs") / _run_id(plan, datetime.now(UTC))
    try:
        return asyncio.run(_run(args, plan, folder))
    except asyncio.CancelledError:
        return STOPPED


async def _run(args: argparse.Namespace, plan: "DemoPlan", folder: Path) -> int:
    _write_line(f"loading {plan.data} and the runtimes")
    # Heavy imports wait until the options are known to be good.
    from rich.console import Console  # noqa: PLC0415

    from model_zoo.metrics import METRICS  # noqa: PLC0415
    from tools.demo.demo import Subject, run_demo, working_runtimes  # noqa: PLC0415
    from tools.demo.display import LiveDisplay, PlainDisplay, summary  # noqa: PLC0415
    from tools.demo.report import report  # noqa: PLC0415

    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)

    subject = Subject.load(plan, environ=os.environ)
    console = Console()
    display: Display = (
        LiveDisplay(
            plan,
            console,
            parameters=subject.manifest.layout.size,
            metric=METRICS[subject.manifest.task],
        )
        if console.is_terminal
        else PlainDisplay(_write_line, metric=METRICS[subject.manifest.task])
    )
    outcome = await run_demo(
        plan,
        subject,
        folder=folder,
        runtimes=await working_runtimes(),
        display=display,
        broker_kind=args.broker,
    )
    console.print(summary(outcome))
    page = folder / "report.html"
    page.write_text(report(outcome), encoding="utf-8")
    if args.json:
        args.json.write_text(json.dumps(outcome.to_json(), indent=2) + "\n")
    _write_line(f"report: {page}")
    return 0


def _plan(args: argparse.Namespace) -> "DemoPlan":
    from model_zoo import zoo  # noqa: PLC0415
    from model_zoo.data import catalog  # noqa: PLC0415
    from tools.demo.plan import DemoPlan, chosen  # noqa: PLC0415

    if args.model and args.data is None and (Path(args.model) / "data.py").is_file():
        args.data = args.model
    args.data = args.data or "digits"
    name = args.model or catalog.entry(args.data).default_model
    if name is None:
        raise ConfigError(
            f"{args.data} has no model of its own",
            remedy="name one with --model; see edgefed zoo list",
        )
    defaults = replace(
        DemoPlan.suited(args.data, zoo.model(name)),
        # the server is started elsewhere: it must find a folder all the same
        model=name if name in zoo.MODELS else str(Path(name).absolute()),
        unseen=args.unseen,
        compare=args.compare,
    )
    options = {
        option: getattr(args, option)
        for option in (
            *("devices", "rounds", "fraction", "epochs", "learning_rate", "momentum"),
            *(
                "mu",
                "codec",
                "downlink",
                "partition",
                "alpha",
                "shift",
                "patience",
                "seed",
                "protection",
            ),
        )
    }
    return chosen(defaults, preset=args.preset, options=options)


def check_writable(path: Path | None) -> None:
    """Fail before the work, not after it."""
    if path is None:
        return
    try:
        path.touch()
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be written: {error.strerror}", remedy="name another --json"
        ) from error


def _run_id(plan: "DemoPlan", now: datetime) -> str:
    return f"{now:%Y%m%d-%H%M%S}-{Path(plan.data).resolve().name}"


def _write_line(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
