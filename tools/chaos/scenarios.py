"""The scenarios by name: conditions, faults, and what each needs to run here."""

import difflib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from tools.chaos import (
    clocks,
    disks,
    false_clocks,
    full_disks,
    kills,
    links,
    mixture,
    outages,
)
from tools.chaos.arena import Arena
from tools.chaos.conditions import Conditions
from wire_protocol.errors import ConfigError

Faults: TypeAlias = Callable[[Arena], Awaitable[None]]
UNDISTURBED: Final = "undisturbed"
ALL: Final = "all"


async def leave_alone(_: Arena) -> None:
    """Do nothing: conditions are all there is."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """A federation, and what is done to it.

    ``strikes`` tells whether something must be done for the run to prove anything.
    """

    name: str
    summary: str
    conditions: Conditions = field(default_factory=Conditions)
    faults: Faults = leave_alone
    strikes: bool = True

    def why_not(self) -> str:
        """Return why it cannot be run on this machine; "" if it can."""
        if self.conditions.clock and clocks.find_library() is None:
            return clocks.MISSING
        return disks.why_not() if self.conditions.small_disks else ""


SCENARIOS: Final[Mapping[str, Scenario]] = {
    scenario.name: scenario
    for scenario in (
        Scenario(
            UNDISTURBED,
            "nothing happens; what the others are held against",
            strikes=False,
        ),
        Scenario(
            "quick",
            f"SIGKILL of server, agent and broker in turn, {kills.QUICK_KILLS} times",
            faults=kills.kill_each,
        ),
        Scenario(
            "server-kill",
            f"SIGKILL of the server, {kills.SERVER_KILLS} times",
            Conditions(rounds=kills.SERVER_KILLS),
            kills.kill_server,
        ),
        Scenario(
            "agent-kill",
            f"SIGKILL of a random agent, {kills.AGENT_KILLS} times",
            Conditions(rounds=kills.AGENT_KILLS),
            kills.kill_agents,
        ),
        Scenario(
            "broker-kill",
            f"SIGKILL of a broker that keeps nothing, {kills.BROKER_KILLS} times",
            Conditions(rounds=kills.BROKER_KILLS),
            kills.kill_broker,
        ),
        Scenario(
            "broker-outage",
            "the broker is away for --outage-s",
            faults=outages.broker_outage,
        ),
        Scenario(
            "disk-full-server",
            "the server's disk is full, twice",
            Conditions(rounds=20, small_disks=frozenset({"server"})),
            full_disks.fill_disks,
        ),
        Scenario(
            "disk-full-agent",
            "an agent's disk is full, twice",
            Conditions(rounds=20, small_disks=frozenset({"device"})),
            full_disks.fill_disks,
        ),
        Scenario(
            "clock-1970",
            "every clock begins in 1970",
            Conditions(clock="everybody"),
            false_clocks.begin_in_1970,
        ),
        Scenario(
            "clock-jumps",
            f"server's and agents' clocks jump by days to decades, "
            f"{false_clocks.JUMPS} times",
            Conditions(rounds=12, clock="edgefed"),
            false_clocks.jump,
        ),
        Scenario(
            "link-cuts",
            "every link is cut every 5 s, with a model of 5 MB over 400 kB/s",
            links.CUT,
        ),
        Scenario("duplicates", "every second message comes twice", links.DOUBLED),
        Scenario(
            "slow-lossy",
            "200 ms to the broker and back, 2 % of messages acknowledged and lost",
            links.SLOW_AND_LOSSY,
        ),
        Scenario(
            "everything",
            "all of these, mixed at random for --seconds",
            mixture.MIXED,
            mixture.everything,
        ),
    )
}


def chosen(names: str) -> tuple[Scenario, ...]:
    """Return the scenarios in ``names``, separated by commas, in the table's order.

    >>> [scenario.name for scenario in chosen("agent-kill,server-kill")]
    ['server-kill', 'agent-kill']

    Raises:
        ConfigError: One is unknown.
    """
    wanted = {name.strip() for name in names.split(",")}
    if ALL in wanted:
        return tuple(SCENARIOS.values())
    for name in sorted(wanted - set(SCENARIOS)):
        near = difflib.get_close_matches(name, SCENARIOS, n=1)
        raise ConfigError(
            f"there is no scenario {name!r}",
            remedy=f"did you mean {near[0]}?" if near else "see edgefed chaos --list",
        )
    return tuple(one for one in SCENARIOS.values() if one.name in wanted)
