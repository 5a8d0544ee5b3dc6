"""The ``edgefed`` command: parse, call, print; errors end here, and only here.

Each command group is imported only when it is asked for, so that an agent on a device
carries nothing of the server, the zoo or the demo.
"""

import argparse
import importlib
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

from wire_protocol.errors import INTERRUPTED, ConfigError, EdgefedError


@dataclass(frozen=True, slots=True)
class Group:
    """A command group: the module whose ``add_commands`` builds it, and its line."""

    module: str
    help: str


GROUPS: Final = {
    "demo": Group("tools.demo.cli", "run a whole federation on this machine"),
    "chaos": Group("tools.chaos.cli", "break a federation on this machine"),
    "agent": Group("edge_agent.cli", "take part in a federation, on a device"),
    "server": Group("broker_server.cli", "run the aggregator beside the broker"),
    "broker": Group(
        "broker_server.broker_policy.cli", "guard the MQTT broker of a fleet"
    ),
    "fleet": Group("tools.fleet.cli", "found a fleet: its authority and its keys"),
    "devices": Group("tools.devices.cli", "let devices join, and lock them out"),
    "doctor": Group("tools.doctor.cli", "measure what works here, and say what to do"),
    "zoo": Group("model_zoo.cli", "list, build and verify models"),
}


_FINDERS: Final = ("server", "doctor")
"""Groups that are told how to find an artifact by name."""


def find_artifact(name: str) -> Path:
    """Return the folder of an artifact: by its path, its model's, or a zoo's name."""
    for folder in (Path(name), Path(name) / "artifact"):
        if (folder / "manifest.json").is_file():
            return folder
    if Path(name).is_absolute() or Path(name).exists() or "/" in name:
        raise ConfigError(
            f"{name} holds no manifest.json, so it is no artifact",
            remedy=f"build it with: edgefed zoo build {name}"
            if (Path(name) / "definition.py").is_file()
            else "build one with: edgefed zoo build NAME --out FOLDER",
        )
    zoo = importlib.import_module("model_zoo.zoo")
    found: Path = zoo.artifact_folder(name)
    return found


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are ours: one line, with what to do next."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(message, remedy=f"see {self.prog} -h")


class _Version(argparse.Action):
    """Prints the version; looks it up only then, since that takes 2 MB."""

    def __init__(self, option_strings: Sequence[str], dest: str, help: str) -> None:  # noqa: A002 - argparse's name
        super().__init__(option_strings, dest, nargs=0, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        metadata = importlib.import_module("importlib.metadata")
        parser.exit(message=f"edgefed {metadata.version('edgefed')}\n")


def _parser(chosen: str | None) -> argparse.ArgumentParser:
    parser = _Parser(
        prog="edgefed",
        description="Federated learning for Raspberry Pi-class devices, over MQTT.",
    )
    parser.add_argument("--version", action=_Version, help="show the version")
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, group in GROUPS.items():
        if name == chosen:
            add_commands: Callable[..., None] = importlib.import_module(
                group.module
            ).add_commands
            extra: dict[str, Any] = (
                {"find_artifact": find_artifact} if name in _FINDERS else {}
            )
            add_commands(subparsers, **extra)
        else:
            subparsers.add_parser(name, help=group.help, add_help=False)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; turn an expected error into one line and its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    chosen = next((word for word in words if not word.startswith("-")), None)
    try:
        args = _parser(chosen).parse_args(words)
        return int(args.run(args))
    except EdgefedError as error:
        sys.stderr.write(f"edgefed: {error}\n")
        return error.exit_code
    except KeyboardInterrupt:
        sys.stderr.write("edgefed: stopped\n")
        return INTERRUPTED
    except BrokenPipeError:
        # the reader of our output went away; say nothing more, to nobody
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE


if __name__ == "__main__":
    sys.exit(main())
