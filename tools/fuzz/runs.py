"""Runs: campaigns over many targets, each slice in a process of its own."""

import logging
import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Final

from tools.fuzz.campaign import Campaign, Outcome, bounded
from tools.fuzz.target import Target
from tools.fuzz.targets import target_named

SLICE: Final = 20_000
"""Inputs of one process; what one leaks, or keeps, is gone with it."""


@dataclass(frozen=True, slots=True)
class Slice:
    """A part of a run: which target, which seed, how many inputs."""

    target: str
    seed: str
    inputs: int


def slices(targets: Sequence[Target], *, inputs: int, seed: int) -> list[Slice]:
    """Return what is to be run: ``inputs`` for a target of share 1."""
    planned = []
    for target in targets:
        left, number = round(inputs * target.share), 0
        while left > 0:
            size = min(left, SLICE)
            planned.append(Slice(target.name, f"{seed}/{target.name}/{number}", size))
            left, number = left - size, number + 1
    return planned


def run_slice(one: Slice) -> Outcome:
    """Run a slice, in a process that nothing else runs in."""
    logging.disable()
    bounded()
    return Campaign(target_named(one.target), seed=one.seed).run(one.inputs)


def run_all(
    planned: Sequence[Slice], *, jobs: int, tell: Callable[[str], None]
) -> list[Outcome]:
    """Run all slices, ``jobs`` at a time; return outcomes by target, in their order.

    A slice whose process dies, as by a crash of a C library, is a finding too: the
    error of the pool ends the run.
    """
    outcomes = {one.target: Outcome(one.target) for one in planned}
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=spawn, max_tasks_per_child=1) as pool:
        futures = [pool.submit(run_slice, one) for one in planned]
        for done, future in enumerate(as_completed(futures), start=1):
            outcome = future.result()
            outcomes[outcome.target].add(outcome)
            tell(f"{done}/{len(planned)}: {outcome.target}, {outcome.inputs} inputs")
    return list(outcomes.values())
