"""The record of a run: as JSON, and as the table in ``docs/fuzzing.md``.

This module is pure.
"""

import platform
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any, Final

from tools.fuzz.campaign import Outcome
from tools.fuzz.targets import target_named

BEGIN: Final = "<!-- written by: make fuzz ARGS=--record -->\n"
END: Final = "<!-- end -->\n"


def plain(outcomes: Sequence[Outcome], *, seconds: float, seed: int) -> dict[str, Any]:
    """Return a run as JSON has it."""
    return {
        "inputs": sum(one.inputs for one in outcomes),
        "seconds": round(seconds, 1),
        "seed": seed,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "findings": sum(len(one.findings) for one in outcomes),
        "targets": [
            {
                "group": target_named(one.target).group,
                **asdict(replace(one, refusals=Counter())),
                "refusals": dict(one.refusals),
            }
            for one in outcomes
        ],
    }


def table(run: dict[str, Any]) -> str:
    """Return a run as Markdown: its sum, and a line for each target."""
    lines = [
        (
            f"{run['inputs']:,} inputs in {run['seconds']:.0f} s, seed {run['seed']}, "
            f"Python {run['python']} on {run['machine']}: {run['findings']} defects."
        ),
        "",
        "| group | target | inputs | accepted | exceptions | ends | KiB | slowest ms |",
        "|---|---|---:|---:|---|---:|---:|---:|",
    ]
    for one in sorted(run["targets"], key=lambda one: str(one["group"])):
        refused = ", ".join(
            f"`{name}` {count:,}" for name, count in sorted(one["refusals"].items())
        )
        lines.append(
            f"| {one['group']} | {one['target']} | {one['inputs']:,} "
            f"| {one['accepted']:,} | {refused or 'none'} | {one['places']} "
            f"| {one['peak_bytes'] / 1024:,.0f} | {1000 * one['slowest_s']:.0f} |"
        )
    sums: dict[str, int] = {}
    for one in run["targets"]:
        sums[one["group"]] = sums.get(one["group"], 0) + one["inputs"]
    listed = ", ".join(f"{group} {count:,}" for group, count in sorted(sums.items()))
    return "\n".join([*lines, "", f"By group: {listed}."]) + "\n"


def recorded(document: str, run: dict[str, Any]) -> str:
    """Return ``document`` with the run's table in place of the one before."""
    head, _, rest = document.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n{table(run)}\n{END}{tail}"
