"""``edgefed zoo verify``: findings on standard output, progress on standard error.

It ends with 0 when every finding is within its limit, and with 1 otherwise. A runtime
that cannot be had here is reported as not checked; that is a failure only when
``--runtimes`` asks for it.
"""

import argparse
import difflib
import json
import multiprocessing
import os
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

from model_zoo import zoo
from model_zoo.verification.check import Check
from wire_protocol.errors import ConfigError

if TYPE_CHECKING:
    _Leaves = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001

RUNTIMES: Final = ("litert", "onnxruntime", "tflite-runtime")

Findings = Mapping[str, Sequence[Check]]


def add_command(leaves: "_Leaves") -> None:
    """Add ``verify``."""
    leaf = leaves.add_parser(
        "verify", help="check gradients, agreement of runtimes, and operators"
    )
    which = leaf.add_mutually_exclusive_group(required=True)
    which.add_argument(
        "name", nargs="?", metavar="NAME", help="of a model, or its folder's path"
    )
    which.add_argument("--all", action="store_true", help="verify every model")
    leaf.add_argument(
        "--runtimes",
        metavar="LIST",
        help=f"such as {','.join(RUNTIMES[:2])} (default: all three; tflite-runtime "
        "gets an environment of its own in your cache folder, made once)",
    )
    leaf.add_argument("--json", action="store_true", help="print JSON")
    leaf.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    runtimes = _runtimes(args.runtimes) if args.runtimes else RUNTIMES
    names = list(zoo.MODELS) if args.all else [args.name]
    for name in names:
        zoo.artifact_folder(name)  # a missing one is said before anything is done
    findings = _verified(names, runtimes, needed=args.runtimes is not None)
    print(_as_json(findings) if args.json else _as_text(findings))
    passed = all(check.passed for checks in findings.values() for check in checks)
    return 0 if passed else 1


def _runtimes(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(text.split(",")))
    for name in names:
        if name not in RUNTIMES:
            near = difflib.get_close_matches(name, RUNTIMES, n=1)
            raise ConfigError(
                f"no runtime is called {name!r}; there are {', '.join(RUNTIMES)}",
                remedy=f"did you mean {near[0]}?" if near else "",
            )
    return names


def _verified(
    names: Sequence[str], runtimes: tuple[str, ...], *, needed: bool
) -> Findings:
    """Verify each model in a process of its own, as many at once as processors."""
    # Read by numpy when a child imports it: with several threads on each of several
    # processes, BLAS mostly waits for itself.
    for library in ("OPENBLAS", "OMP", "MKL"):
        os.environ.setdefault(f"{library}_NUM_THREADS", "1")
    workers = min(len(names), os.cpu_count() or 1)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        tasks = {
            name: pool.submit(verify_named, name, runtimes, needed=needed)
            for name in names
        }
        return {name: task.result() for name, task in tasks.items()}


def verify_named(
    name: str, runtimes: tuple[str, ...], *, needed: bool
) -> Sequence[Check]:
    """Verify one model of the zoo or of the user, with progress on standard error."""
    from model_zoo.verify import verify  # noqa: PLC0415

    return verify(
        zoo.model(name),
        zoo.artifact_folder(name),
        runtimes=runtimes,
        needed=needed,
        say=lambda text: print(f"{name}: {text}", file=sys.stderr, flush=True),
    )


def _as_json(findings: Findings) -> str:
    plain = {
        name: [{**asdict(check), "passed": check.passed} for check in checks]
        for name, checks in findings.items()
    }
    return json.dumps(plain, indent=2)


def _as_text(findings: Findings) -> str:
    lines = []
    for name, checks in findings.items():
        lines.append(name)
        for check in checks:
            mark = "ok  " if check.passed else "FAIL"
            if not check.checked:
                lines.append(f"  {mark} {check.what} not checked: {check.detail}")
                continue
            lines.append(
                f"  {mark} {check.what}: {check.value:.3g} (at most"
                f" {check.limit:.3g}; {check.detail})"
            )
    return "\n".join(lines)
