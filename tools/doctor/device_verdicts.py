"""What is to be thought of what a device trains with and on.

Facts in, findings out. This module is pure.
"""

from dataclasses import dataclass

from tools.doctor.findings import Finding, Measured, failed, not_measured, ok, warning


@dataclass(frozen=True, slots=True)
class RuntimeFacts:
    """A runtime: its label for people, the package that brings it, and what is wrong.

    ``selftests`` is what its self-test on each artifact of the fleet that is here came
    to, by name of the model: "" or the problem.
    """

    label: str
    distribution: str
    problem: str
    selftests: dict[str, str]


def judge_runtimes(facts: tuple[RuntimeFacts, ...]) -> Finding:
    """Return whether the device can train; of several runtimes the first that works."""
    working = [one for one in facts if not one.problem]
    if not working:
        told = "; ".join(f"{one.label}: {one.problem}" for one in facts)
        return failed(
            f"no runtime works here: {told}",
            remedy=f"pip install {facts[0].distribution}",
        )
    chosen = working[0]
    measured: Measured = {"runtime": chosen.label, "artifacts": len(chosen.selftests)}
    for model, problem in chosen.selftests.items():
        if problem:
            return failed(
                f"{chosen.label} computes {model} wrongly: {problem}",
                remedy=f"pip install --upgrade {chosen.distribution}, or set [agent] "
                "runtime to another one",
                measured=measured,
            )
    passed = ", ".join(chosen.selftests)
    return ok(
        f"{chosen.label} works"
        + (f", and passes the self-test of {passed}" if passed else ""),
        measured=measured,
    )


@dataclass(frozen=True, slots=True)
class ExampleFacts:
    """How many examples there are to train on and held out, and how many it takes.

    ``growing``: whether they come from sensors or a hook while the agent runs.
    """

    source: str
    training: int
    holdout: int
    least: int
    growing: bool


def judge_examples(facts: ExampleFacts) -> Finding:
    """Return whether there is something to train on."""
    measured = {"training": facts.training, "holdout": facts.holdout}
    found = (
        f"{facts.training} to train on and {facts.holdout} held out, of {facts.source}"
    )
    if facts.training >= max(1, facts.least):
        return ok(found, measured=measured)
    short = f"{found}; {max(1, facts.least)} are needed"
    if facts.growing:
        return warning(
            short,
            remedy="let the agent run: it collects them; if it does and none come, see "
            "its log, and docs/examples.md",
            measured=measured,
        )
    return failed(
        short,
        remedy="name a file or folder with examples in [data]: docs/examples.md",
        measured=measured,
    )


def judge_running(*, held: bool | None, what: str) -> Finding:
    """Return whether an agent or server, ``what``, is at work on the state folder."""
    if held is None:
        return not_measured(f"no {what} has ever run on this state folder")
    return ok(f"the {what} is running" if held else f"no {what} is running now")
