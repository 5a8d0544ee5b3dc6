"""The agent's budget, measured on real processes by the benchmark people run."""

import asyncio
from pathlib import Path

import pytest

from tools.bench_agent import bare_packages, measure

MB_PER_MIB = 1024 * 1024 / 1e6
LIMITS_MB = {"litert": 75, "onnxruntime": 90}


def test_the_bare_install_is_small() -> None:
    assert len(bare_packages()) <= 10


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    folder: Path = tmp_path_factory.mktemp("budget")
    return asyncio.run(measure(folder, tell=lambda _: None))


@pytest.mark.slow
@pytest.mark.parametrize("runtime", LIMITS_MB)
def test_an_agent_keeps_to_its_memory(figures: dict[str, object], runtime: str) -> None:
    measured = figures[runtime]
    assert isinstance(measured, dict)
    assert 10 < measured["idle_mib"] * MB_PER_MIB <= 45
    assert measured["idle_mib"] < measured["member_idle_mib"]
    assert measured["member_idle_mib"] * MB_PER_MIB <= 45
    assert measured["training_peak_mib"] * MB_PER_MIB <= LIMITS_MB[runtime]
    over = measured["training_peak_mib"] - measured["floor_mib"]
    assert over * MB_PER_MIB <= 20
