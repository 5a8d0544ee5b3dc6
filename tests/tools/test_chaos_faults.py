"""The means of chaos, each alone: disks, clocks, kills, a heavy artifact."""

import asyncio
import json
import shutil
import subprocess
import sys
from collections.abc import Collection, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import pytest

from edge_agent.probe import self_test_problem
from edge_agent.runtimes import RUNTIMES, RuntimeName
from model_zoo import zoo
from tools.chaos import clocks, disks
from tools.chaos.heavy_artifact import grow_artifact
from tools.chaos.leftovers import end, free_port, held_ports, running
from tools.chaos.plan import DAY_S
from tools.chaos.processes import Process
from tools.demo.children import Children
from wire_protocol.errors import TransportError
from wire_protocol.manifest import Manifest

SIZE = 1_000_000


def run(test: Coroutine[Any, Any, None]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(30):
            await test

    asyncio.run(limited())


@pytest.mark.parametrize("runtime", ["litert", "onnxruntime"])
def test_a_grown_artifact_is_as_large_as_asked_and_passes_its_self_test(
    tmp_path: Path, runtime: RuntimeName
) -> None:
    source, target = zoo.artifact_folder("digits-mlp"), tmp_path / "artifact"
    grow_artifact(source, target, size=SIZE, rng=Random(0))
    manifest = Manifest.from_json((target / "manifest.json").read_bytes())
    files = manifest.family_files(RUNTIMES[runtime].family)
    assert abs(sum(file.size for file in files.values()) - SIZE) < 100
    for name, file in files.items():
        assert (target / name).stat().st_size == file.size
    assert asyncio.run(self_test_problem(RUNTIMES[runtime], target)) == ""


def test_what_an_artifact_grew_by_cannot_be_packed(tmp_path: Path) -> None:
    source, target = zoo.artifact_folder("digits-mlp"), tmp_path / "artifact"
    grow_artifact(source, target, size=SIZE, rng=Random(0))
    other = tmp_path / "other"
    grow_artifact(source, other, size=SIZE, rng=Random(1))
    name = "model.tflite"
    assert (target / name).read_bytes() != (other / name).read_bytes()


def test_a_small_disk_is_seen_by_its_process_only_and_can_be_filled_and_emptied(
    tmp_path: Path,
) -> None:
    if problem := disks.why_not():
        pytest.skip(problem)

    async def test() -> None:
        async with Children() as children:
            disk = disks.SmallDisk(tmp_path / "state")
            await disk.open(children, log=tmp_path / "disk.log")
            file = disk.folder / "file"
            script = (
                f"import os; open({str(file)!r}, 'w').write('x'); print(os.getcwd())"
            )
            writer = await children.start_program(
                "writer",
                [*disk.prefix, sys.executable, "-c", script],
                log=tmp_path / "writer.log",
            )
            assert await writer.process.wait() == 0, writer.last_words()
            assert writer.last_words() == str(Path.cwd())
            assert list(disk.folder.iterdir()) == []
            assert (disk.inside / "file").read_text() == "x"
            assert 0 < disk.fill() <= disks.DISK_BYTES
            assert disk.fill() <= disks.DISK_BYTES  # nothing is left
            with pytest.raises(OSError, match="No space"):
                (disk.inside / "more").write_bytes(bytes(8192))
            disk.empty()
            (disk.inside / "more").write_bytes(bytes(8192))
            disk.copy_to(tmp_path / "copy")
        assert sorted(path.name for path in (tmp_path / "copy").iterdir()) == [
            "file",
            "more",
        ]
        assert running(children.pids) == {}

    run(test())


def test_a_false_clock_shows_another_time_and_sleeps_as_long_as_a_true_one(
    tmp_path: Path,
) -> None:
    library = clocks.find_library()
    if library is None:
        pytest.skip(clocks.MISSING)
    clock = clocks.FalseClock(tmp_path / "clock", library)
    script = (
        "import asyncio, json, time; began = time.monotonic();"
        "asyncio.run(asyncio.sleep(0.2));"
        "print(json.dumps([time.time(), time.monotonic() - began]))"
    )

    def shown() -> tuple[float, float]:
        done = subprocess.run(
            [*clock.prefix, sys.executable, "-c", script],
            check=True,
            capture_output=True,
        )
        now, slept_s = json.loads(done.stdout)
        return now, slept_s

    clock.set_to(60.0)
    now, slept_s = shown()
    assert 60.0 <= now < 90.0
    assert 0.2 <= slept_s < 5.0
    clock.shift(-400 * DAY_S)
    off_s = shown()[0] - datetime.now(UTC).timestamp()
    assert -401 * DAY_S < off_s < -399 * DAY_S


def test_where_a_means_is_missing_the_reason_names_what_to_install() -> None:
    assert "apt install faketime" in clocks.MISSING


def test_a_killed_process_comes_back_with_a_new_log_until_it_is_told_to_leave(
    tmp_path: Path,
) -> None:
    sleep = shutil.which("sleep")
    assert sleep is not None

    async def test() -> None:
        async with Children() as children:
            process = Process(
                "sleeper", [sleep, "60"], children=children, logs=tmp_path
            )
            ended = process.begin()
            for _ in range(3):
                await process.kill()
            await process.keep_down()
            assert running(children.pids) == {}
            process.revive()
            await process.kill()
            assert await process.stop()
            assert ended.done()
        assert len({*children.pids}) == len(children.pids) >= 5

    run(test())
    logs = sorted(path.name for path in tmp_path.iterdir())
    assert logs[:5] == [f"sleeper.{life}.log" for life in range(1, 6)]


def test_a_process_that_is_down_stays_down_when_it_is_told_to_leave(
    tmp_path: Path,
) -> None:
    sleep = shutil.which("sleep")
    assert sleep is not None

    async def test() -> None:
        async with Children() as children:
            process = Process(
                "sleeper", [sleep, "60"], children=children, logs=tmp_path
            )
            ended = process.begin()
            await process.keep_down()
            assert await process.stop()
            assert ended.done()
            assert len(children.pids) == 1

    run(test())


def test_a_process_that_found_no_broker_is_started_again_and_any_other_end_is_final(
    tmp_path: Path,
) -> None:
    script = (
        "import pathlib, sys; seen = pathlib.Path(sys.argv[1]); again = seen.exists();"
        f"seen.touch(); sys.exit(3 if again else {TransportError.exit_code})"
    )

    async def test() -> None:
        async with Children() as children:
            process = Process(
                "server",
                [sys.executable, "-c", script, str(tmp_path / "seen")],
                children=children,
                logs=tmp_path,
            )
            child = await process.begin()
            assert child.process.returncode == 3
            assert len(children.pids) == 2

    run(test())


async def _started(sessions: Collection[int], command: str) -> dict[int, str]:
    """Wait until ``command`` alone runs there: a shell forks before it becomes it."""
    async with asyncio.timeout(10):
        while list((left := running(sessions)).values()) != [command]:  # noqa: ASYNC110 - a fork tells nobody
            await asyncio.sleep(0)
    return left


def test_what_is_left_running_is_found_by_its_session_and_ended(tmp_path: Path) -> None:
    async def test() -> None:
        async with Children() as children:
            shell = shutil.which("sh")
            assert shell is not None
            child = await children.start_program(
                "parent", [shell, "-c", "sleep 60 & echo"], log=tmp_path / "log"
            )
            await child.process.wait()
            left = await _started(children.pids, "sleep 60")
            end(left)
            tail = shutil.which("tail")
            assert tail is not None
            waiting = [tail, *(f"--pid={pid}" for pid in left), "-f", "/dev/null"]
            await (await asyncio.create_subprocess_exec(*waiting)).wait()
            assert running(children.pids) == {}

    run(test())


def test_a_port_is_held_while_somebody_listens() -> None:
    async def test() -> None:
        port = free_port()
        server = await asyncio.start_server(lambda *_: None, "127.0.0.1", port)
        async with server:
            assert held_ports([port]) == [port]
        assert held_ports([port]) == []

    run(test())
