"""The checks of a server, in order."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import time
from typing import Final

from broker_server.artifact import load_artifact
from broker_server.config import ServerConfig
from broker_server.fleet_folder import FleetFolder
from broker_server.store import DATABASE, LOCK
from tools.doctor.broker_checks import message_checks, way_checks
from tools.doctor.broker_probes import try_as_device, try_as_server, try_as_stranger
from tools.doctor.broker_verdicts import (
    judge_device_access,
    judge_server_access,
    judge_strangers,
)
from tools.doctor.examination import Check, in_thread
from tools.doctor.findings import Finding, not_measured
from tools.doctor.identity_verdicts import judge_fleet
from tools.doctor.machine_checks import (
    board_checks,
    clock_check,
    disk_check,
    memory_check,
    password_checks,
    running_check,
    threaded,
)
from tools.doctor.server_meeting import VISITOR, server_meeting, visits
from tools.doctor.server_probes import (
    look_at_artifact,
    look_at_broker_program,
    look_at_database,
    look_at_fleet,
)
from tools.doctor.server_verdicts import (
    judge_artifact,
    judge_broker_program,
    judge_database,
)
from wire_protocol.link import LinkSettings
from wire_protocol.topics import Topics

LEAST_DISK_MIB: Final = 256.0
"""Room for updates, versions and the database's log of a few rounds."""
LEAST_MEMORY_MIB: Final = 32.0
SERVER_MIB: Final = 150.0
_DATABASE_S: Final = 120.0


def server_checks(
    config: ServerConfig, *, find_artifact: Callable[[str], Path]
) -> list[Check]:
    """Return what is to be found out about the server of ``config``.

    ``find_artifact`` returns the folder of an artifact by name or path.
    """
    state_dir, fleet_dir = config.server.state_dir, config.security.fleet_dir
    topics = Topics(config.server.fleet)
    meeting = server_meeting(config)
    ours = [state_dir / DATABASE, *([fleet_dir / "fleet.json"] if fleet_dir else [])]

    async def access(settings: LinkSettings) -> Finding:
        if visits(config):
            tried = await try_as_device(settings, topics, device=VISITOR)
            return judge_device_access(tried, identified=True)
        return judge_server_access(await try_as_server(settings, topics))

    async def strangers(settings: LinkSettings) -> Finding:
        return judge_strangers(await try_as_stranger(settings))

    return [
        running_check("server", state_dir / LOCK),
        threaded("fleet", lambda: _fleet(config)),
        *password_checks(config.broker.password_file),
        clock_check(ours),
        threaded("broker program", lambda: _program(config)),
        *way_checks(meeting),
        *message_checks(meeting),
        meeting.check("access", access),
        meeting.check("strangers", strangers, needs=("tcp",)),
        disk_check(state_dir, least_mib=LEAST_DISK_MIB),
        Check(
            "database",
            lambda: in_thread(lambda: _database(config)),
            timeout_s=_DATABASE_S,
        ),
        threaded("artifact", partial(_artifact, config, find_artifact)),
        memory_check(least_mib=LEAST_MEMORY_MIB, need_mib=SERVER_MIB),
        *board_checks(),
    ]


def _fleet(config: ServerConfig) -> Finding:
    if config.security.fleet_dir is None:
        return not_measured(
            "[security] fleet_dir is not set: a federation on one machine, without "
            "identities",
            remedy="edgefed fleet init, before any other machine is to take part",
        )
    folder = FleetFolder(config.security.fleet_dir)
    now = time()
    facts = look_at_fleet(folder, configured=config.server.fleet, now=now)
    return judge_fleet(facts, now=now)


def _program(config: ServerConfig) -> Finding:
    if not config.broker.starts_own:
        return not_measured("the server uses a broker that it does not start")
    return judge_broker_program(look_at_broker_program(), wanted=config.broker.kind)


def _database(config: ServerConfig) -> Finding:
    return judge_database(look_at_database(config.server.state_dir / DATABASE))


def _artifact(config: ServerConfig, find_artifact: Callable[[str], Path]) -> Finding:
    loaded = load_artifact(find_artifact(config.model.artifact))
    return judge_artifact(look_at_artifact(loaded))
