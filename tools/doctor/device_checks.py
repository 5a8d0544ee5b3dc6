"""The checks of a device, in order."""

from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from time import time
from typing import Final

from edge_agent.conditions import readings
from edge_agent.config import AgentConfig
from edge_agent.holdings import holdings
from edge_agent.membership import IdentityFolder
from edge_agent.presence import link_settings
from edge_agent.probe import Finding as RuntimeFinding
from edge_agent.probe import candidates, probe, self_test_problem
from edge_agent.state_files import LOCK
from tools.doctor.broker_checks import Meeting, message_checks, way_checks
from tools.doctor.broker_probes import look_for_server, try_as_device
from tools.doctor.broker_verdicts import judge_device_access, judge_server
from tools.doctor.device_verdicts import (
    ExampleFacts,
    RuntimeFacts,
    judge_examples,
    judge_runtimes,
)
from tools.doctor.examination import Check, in_thread
from tools.doctor.findings import Finding, not_measured
from tools.doctor.identity_probes import look_at_identity
from tools.doctor.identity_verdicts import judge_identity
from tools.doctor.locks import is_held
from tools.doctor.machine_checks import (
    board_checks,
    clock_check,
    disk_check,
    memory_check,
    password_checks,
    running_check,
    threaded,
)
from tools.doctor.machine_verdicts import judge_temperature
from tools.doctor.trial import as_doctor
from wire_protocol.envelope import as_it_is
from wire_protocol.errors import DecodeError
from wire_protocol.link import LinkSettings
from wire_protocol.manifest import Manifest
from wire_protocol.topics import Topics

AGENT_MIB: Final = 80.0
"""What an agent takes at its peak, with the larger of the runtimes."""
_RUNTIMES_S: Final = 300.0
_EXAMPLES_S: Final = 60.0


def device_checks(config: AgentConfig) -> list[Check]:
    """Return what is to be found out about the device of ``config``."""
    agent, limits = config.agent, config.conditions
    identity = None
    if config.security.identity_dir is not None:
        identity = IdentityFolder(config.security.identity_dir)
    meeting = _meeting(config, identity)
    ours = [agent.state_dir / "boot", agent.state_dir / "journal"]
    if identity is not None:
        ours.append(identity.path / "membership.json")
    return [
        running_check("agent", agent.state_dir / LOCK),
        threaded("identity", lambda: _identity(config, identity)),
        *password_checks(config.broker.password_file),
        clock_check(ours),
        *way_checks(meeting),
        _server_check(config, identity, meeting),
        *message_checks(meeting),
        _access_check(config, identity, meeting),
        disk_check(
            agent.state_dir,
            least_mib=limits.min_free_disk_mib,
            written_mib_a_day=_write_budget(config),
        ),
        memory_check(least_mib=limits.min_free_memory_mib, need_mib=AGENT_MIB),
        threaded("temperature", lambda: _temperature(config)),
        *board_checks(),
        Check("runtimes", partial(_runtimes, config), timeout_s=_RUNTIMES_S),
        Check(
            "examples",
            lambda: in_thread(lambda: _examples(config)),
            timeout_s=_EXAMPLES_S,
        ),
    ]


def _meeting(config: AgentConfig, identity: IdentityFolder | None) -> Meeting:
    agent = config.agent

    def settings() -> AbstractContextManager[LinkSettings]:
        return nullcontext(as_doctor(link_settings(config, identity=identity)))

    def absent() -> Finding | None:
        if identity is None or identity.joined:
            return None
        return not_measured("where the broker is, a device is told when it joins")

    def barred() -> Finding | None:
        """A broker that knows clients by their certificate would end the other one."""
        identified = identity is not None or config.broker.username is not None
        if identified and is_held(agent.state_dir / LOCK):
            return not_measured(
                "the agent is running, and a second connection with its identity "
                "would throw it off the broker",
                remedy="stop the agent, and ask again",
            )
        return None

    return Meeting(
        settings,
        absent=absent,
        barred=barred,
        topic=Topics(agent.fleet).device(agent.device, "doctor"),
    )


def _identity(config: AgentConfig, identity: IdentityFolder | None) -> Finding:
    if identity is None:
        return not_measured(
            "[security] identity_dir is not set: a member of no fleet, for a "
            "federation on one machine",
            remedy="set it, and join: edgefed agent join",
        )
    named = (config.agent.fleet, config.agent.device)
    return judge_identity(look_at_identity(identity, configured=named), now=time())


def _server_check(
    config: AgentConfig, identity: IdentityFolder | None, meeting: Meeting
) -> Check:
    topics = Topics(config.agent.fleet)

    async def examine(settings: LinkSettings) -> Finding:
        unseal = as_it_is if identity is None else identity.verifier().unseal
        facts = await look_for_server(settings, topics, unseal=unseal)
        if facts.info is not None:
            meeting.block_bytes = facts.info.block_bytes
        return judge_server(facts, fleet=config.agent.fleet)

    return meeting.check("server", examine)


def _access_check(
    config: AgentConfig, identity: IdentityFolder | None, meeting: Meeting
) -> Check:
    topics = Topics(config.agent.fleet)
    identified = identity is not None or config.broker.username is not None

    async def examine(settings: LinkSettings) -> Finding:
        tried = await try_as_device(settings, topics, device=config.agent.device)
        return judge_device_access(tried, identified=identified)

    return meeting.check("access", examine)


def _write_budget(config: AgentConfig) -> float:
    """Return what examples may write, MiB a day; a file of examples writes nothing."""
    grows = config.data.source in ("mqtt", "statestream", "python")
    return config.data.store.write_mib_a_day if grows else 0.0


def _temperature(config: AgentConfig) -> Finding:
    found = readings(config.agent.state_dir).temperature_c
    return judge_temperature(found, most=config.conditions.max_temperature_c)


async def _runtimes(config: AgentConfig) -> Finding:
    tried: list[RuntimeFacts] = []
    for runtime in candidates(config.agent.runtime):
        found = await probe(runtime)
        selftests = {}
        if not found.problem:
            selftests = await _selftests(found, config.agent.state_dir / "artifacts")
        tried.append(
            RuntimeFacts(found.label, runtime.distribution, found.problem, selftests)
        )
        if not found.problem:
            break  # an agent looks no further either
    return judge_runtimes(tuple(tried))


async def _selftests(found: RuntimeFinding, artifacts: Path) -> dict[str, str]:
    """Run the self-test of each artifact that is here whole."""
    whole = await in_thread(lambda: _whole(artifacts, family=found.runtime.family))
    return {
        model: await self_test_problem(found.runtime, folder)
        for model, folder in whole.items()
    }


def _whole(artifacts: Path, *, family: str) -> dict[str, Path]:
    """Return the folders, by model, that have all files of ``family``."""
    found = {}
    for folder in sorted(artifacts.absolute().glob("*/")):
        try:
            manifest = Manifest.from_json((folder / "manifest.json").read_bytes())
        except (OSError, DecodeError):
            continue  # it is on its way, or will be fetched again
        files = manifest.family_files(family)
        if files and all((folder / name).is_file() for name in files):
            found[manifest.name] = folder
    return found


def _examples(config: AgentConfig) -> Finding:
    found = holdings(config.data, config.agent.state_dir)
    return judge_examples(
        ExampleFacts(
            source=found.source,
            training=found.training,
            holdout=found.holdout,
            least=config.data.store.min_examples,
            growing=config.data.source in ("mqtt", "statestream", "python"),
        )
    )
