"""All chosen scenarios, one after the other, held against an undisturbed run."""

import asyncio
import contextlib
import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Final

from edge_agent.runtimes import RuntimeName
from edge_agent.trainers.trainer import open_trainer
from tools.chaos.display import ChaosDisplay
from tools.chaos.outcome import ChaosOutcome, ScenarioOutcome
from tools.chaos.plan import ChaosPlan
from tools.chaos.running import run
from tools.chaos.scenarios import SCENARIOS, UNDISTURBED, Scenario
from tools.chaos.staging import Staging
from tools.chaos.verdicts import Judged, Reference, judged
from tools.demo.demo import Subject
from tools.demo.workspace import Workspace
from tools.judging import Judge

_USUAL_ROUND_S: Final = 0.5
"""Until an undisturbed run was measured."""


async def run_chaos(
    plan: ChaosPlan,
    scenarios: Sequence[Scenario],
    *,
    folder: Path,
    runtimes: Sequence[RuntimeName],
    display: ChaosDisplay,
    keep: bool = False,
) -> ChaosOutcome:
    """Run ``scenarios``, and before them an undisturbed federation of the same seed.

    Args:
        plan: What to run.
        scenarios: Which, in this order.
        folder: Made for this; keeps what failed, or with ``keep`` everything.
        runtimes: Working runtimes; they alternate over the devices.
        display: Shows what happens.
        keep: Keep also what passed.
    """
    rounds = max(_rounds(plan, scenario) for scenario in scenarios)
    subject = Subject.load(plan.federation(rounds), environ=os.environ)
    # the last is ONNX Runtime where it works: it says nothing into the display
    trainer = open_trainer(runtimes[-1], subject.artifact, manifest=subject.manifest)
    judge = subject.judge(trainer, runtime=runtimes[-1])
    undisturbed = SCENARIOS[UNDISTURBED]
    longest = replace(
        undisturbed, conditions=replace(undisturbed.conditions, rounds=rounds)
    )
    reference: Reference | None = None
    outcomes: list[ScenarioOutcome] = []
    display.begin()
    try:
        others = [one for one in scenarios if one.name != UNDISTURBED]
        for scenario in [longest, *others]:
            if problem := await asyncio.to_thread(scenario.why_not):
                skipped = ScenarioOutcome(scenario.name, "skipped", (problem,))
                found = Judged(skipped, None)
            else:
                found = await _run(
                    scenario,
                    plan,
                    subject,
                    folder=folder / scenario.name,
                    runtimes=runtimes,
                    display=display,
                    judge=judge,
                    reference=reference,
                )
            outcome = found.outcome
            if scenario is longest:
                reference = found.reference
            if outcome.verdict == "passed" and not keep:
                shutil.rmtree(folder / scenario.name)
                outcome = replace(outcome, folder="")
            outcomes.append(outcome)
            display.judged(outcome)
    finally:
        display.end()
    with contextlib.suppress(OSError):  # not empty: something is kept
        os.rmdir(folder)  # noqa: PTH106 - pathlib blocks no less
    return ChaosOutcome(plan, outcomes)


async def _run(
    scenario: Scenario,
    plan: ChaosPlan,
    subject: Subject,
    *,
    folder: Path,
    runtimes: Sequence[RuntimeName],
    display: ChaosDisplay,
    judge: Judge,
    reference: Reference | None,
) -> Judged:
    rounds = _rounds(plan, scenario)
    display.scenario(scenario.name, rounds=rounds)
    staging = Staging(
        Workspace.create(folder, subject.federation.shards, runtimes=runtimes),
        subject,
        plan,
        scenario.conditions,
        rounds=rounds,
        round_s=reference.round_s if reference else _USUAL_ROUND_S,
        rng=Random(f"{plan.seed}/{scenario.name}"),  # noqa: S311 - faults, no secret
    )
    result = await run(staging, scenario, display)
    return await asyncio.to_thread(
        judged, result, staging, scenario, judge=judge.judge, reference=reference
    )


def _rounds(plan: ChaosPlan, scenario: Scenario) -> int:
    return max(plan.rounds, scenario.conditions.rounds)
