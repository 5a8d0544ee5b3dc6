"""A state folder that cannot be written: refused in order, and never fatal."""

import asyncio
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from edge_agent.state_files import StateFiles
from tests.edge_agent.agents import running_agent
from tests.edge_agent.power import FullDisk
from tests.edge_agent.scenes import abandoned, idle_after
from tests.edge_agent.scripted_server import ScriptedServer
from tests.edge_agent.test_restarts import WRITES, offer, tell
from wire_protocol.errors import Reason

OF_A_ROUND = WRITES // 2


async def lead(server: ScriptedServer, number: int) -> None:
    """Offer a round, accept what comes, and wait until the device is idle again."""
    told = asyncio.create_task(idle_after(server, number))

    async def answer() -> None:
        while True:
            _, transfer, head, _ = await server.updates.get()
            await server.receipt(head.round, transfer, reason=Reason.ACCEPTED)

    answering = asyncio.create_task(answer())
    await server.open(offer(server, number))
    await told
    answering.cancel()
    await server.close(number)


@pytest.mark.parametrize("at", range(OF_A_ROUND))
def test_a_write_that_fails_costs_one_round_at_most(tmp_path: Path, at: int) -> None:
    disk = FullDisk(at)

    async def story(server: ScriptedServer, home: Path) -> None:
        files = StateFiles(home / "state", replace_file=disk.replace_file)
        async with running_agent(server.broker, home, files=files) as agent:
            await lead(server, 1)
            await lead(server, 2)
            assert not agent.task.done()
        assert len(server.transfers) >= 1
        # what was not durable was not sent
        assert len(set(server.transfers)) + len(abandoned(server.broker)) == 2

    broker = tell(story, tmp_path)
    assert set(abandoned(broker)) <= {(1, Reason.LOW_DISK)}
    survived = disk.seen[at].startswith("checkpoint") or at >= OF_A_ROUND - 2
    assert bool(abandoned(broker)) != survived


def test_a_disk_that_stays_full_refuses_every_round_until_there_is_space(
    tmp_path: Path,
) -> None:
    disk = FullDisk(0, times=1000)

    async def story(server: ScriptedServer, home: Path) -> None:
        files = StateFiles(home / "state", replace_file=disk.replace_file)
        async with running_agent(server.broker, home, files=files) as agent:
            for number in (1, 2, 3):
                await lead(server, number)
            assert server.transfers == []
            disk.times = 0
            await lead(server, 4)
            assert len(set(server.transfers)) == 1
            assert not agent.task.done()
        assert files.written_bytes > 0

    broker = tell(story, tmp_path)
    assert abandoned(broker) == [(number, Reason.LOW_DISK) for number in (1, 2, 3)]


def test_a_receipt_that_cannot_be_written_is_asked_for_again_after_a_restart(
    tmp_path: Path,
) -> None:
    disk = FullDisk(OF_A_ROUND - 2, times=1000)

    async def story(server: ScriptedServer, home: Path) -> None:
        files = StateFiles(home / "state", replace_file=disk.replace_file)
        async with running_agent(server.broker, home, files=files) as agent:
            await lead(server, 1)
            await agent.kill()
        async with running_agent(server.broker, home) as agent:
            _, transfer, _, _ = await server.update()
            assert transfer == server.transfers[0]
            await server.receipt(1, transfer, reason=Reason.DUPLICATE)
            await server.broker.until(
                lambda: (
                    agent.service._memory.record.update is not None
                    and agent.service._memory.record.update.fate == "counted"
                )
            )

    tell(story, tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_folder_without_permission_is_told_at_the_start(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    folder.chmod(stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(Exception, match="state_dir"):
        StateFiles(folder).write(folder / "boot", b"1")


def test_a_start_without_space_ends_with_one_line_and_a_remedy(tmp_path: Path) -> None:
    code = (
        "import resource, signal, sys\n"
        "from pathlib import Path\n"
        "from edge_agent.memory import first_connection\n"
        "from edge_agent.state_files import StateFiles\n"
        "from wire_protocol.errors import ConfigError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n"
        "try:\n"
        "    first_connection(StateFiles(Path(sys.argv[1])))\n"
        "except ConfigError as error:\n"
        "    print(error.exit_code, error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.stdout.startswith("2 ")
    assert "File too large - give [agent] state_dir" in done.stdout
    assert list(tmp_path.iterdir()) == []
