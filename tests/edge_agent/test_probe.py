"""Probing: runtimes that crash, hang, lie or are not there."""

import asyncio
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from edge_agent.probe import (
    Finding,
    candidates,
    installed_version,
    probe,
    problem_of,
    self_test_problem,
    working_runtime,
)
from edge_agent.runtimes import RUNTIMES
from edge_agent.state_files import StateFiles
from model_zoo.zoo import artifact_folder, manifest
from wire_protocol.errors import TrainingError

LITERT, ONNX = RUNTIMES["litert"], RUNTIMES["onnxruntime"]
MISSING = replace(LITERT, distribution="no-such-runtime")

CHILDREN = {
    "is well": ("pass", ""),
    "aborts": ("import os; os.abort()", "died of SIGABRT"),
    "meets an illegal instruction": (
        "import os, signal; os.kill(os.getpid(), signal.SIGILL)",
        "died of SIGILL",
    ),
    "fails": ("raise SystemExit('it is\\nbroken')", "broken"),
    "fails without a word": ("raise SystemExit(3)", "ended with code 3"),
    "hangs": ("import time; time.sleep(60)", "no answer in 0.5 s"),
}


@pytest.mark.parametrize("name", CHILDREN)
def test_whatever_a_child_does_is_told_and_harms_nobody(name: str) -> None:
    code, problem = CHILDREN[name]
    timeout_s = 0.5 if name == "hangs" else 60.0
    command = [sys.executable, "-c", code]
    assert asyncio.run(problem_of(command, timeout_s=timeout_s)) == problem


@pytest.mark.parametrize("runtime", [LITERT, ONNX], ids=lambda runtime: runtime.name)
def test_an_installed_runtime_works(runtime: object) -> None:
    assert isinstance(runtime, type(LITERT))
    finding = asyncio.run(probe(runtime))
    assert finding == Finding(runtime, installed_version(runtime), "")
    assert finding.version


def test_a_runtime_that_is_not_installed_is_told() -> None:
    assert asyncio.run(probe(MISSING)).problem == "not installed"


def test_a_runtime_that_cannot_be_imported_is_told() -> None:
    # numpy is installed, tflite_runtime is not: what a broken wheel looks like
    finding = asyncio.run(
        probe(replace(RUNTIMES["tflite-runtime"], distribution="numpy"))
    )
    assert "tflite_runtime" in finding.problem


def test_what_worked_is_remembered_until_its_version_changes(tmp_path: Path) -> None:
    first = asyncio.run(working_runtime([LITERT], files=StateFiles(tmp_path)))
    assert first.runtime is LITERT
    memory = tmp_path / "probe.json"
    assert json.loads(memory.read_bytes()) == {"litert": installed_version(LITERT)}

    memory.write_text(
        json.dumps({"litert": "0.0", "onnxruntime": installed_version(ONNX)})
    )
    again = asyncio.run(working_runtime([ONNX], files=StateFiles(tmp_path)))
    assert again.runtime is ONNX
    assert json.loads(memory.read_bytes())["litert"] == "0.0"  # nothing was probed
    asyncio.run(working_runtime([LITERT], files=StateFiles(tmp_path)))
    assert json.loads(memory.read_bytes())["litert"] == installed_version(LITERT)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff"])
def test_a_damaged_memory_is_no_memory(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "probe.json").write_bytes(content)
    finding = asyncio.run(working_runtime([MISSING, ONNX], files=StateFiles(tmp_path)))
    assert finding.runtime is ONNX


def test_without_a_runtime_every_problem_is_told(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="not installed") as caught:
        asyncio.run(working_runtime([MISSING], files=StateFiles(tmp_path)))
    assert caught.value.remedy.startswith("pip install no-such-runtime, or set")
    assert caught.value.exit_code == 5


def test_the_choice_of_the_configuration_is_tried_alone() -> None:
    assert [runtime.name for runtime in candidates("auto")] == list(RUNTIMES)
    assert candidates("onnxruntime") == (ONNX,)


def test_a_child_finds_an_artifact_that_computes_otherwise(tmp_path: Path) -> None:
    folder = tmp_path / "artifact"
    shutil.copytree(artifact_folder("digits-mlp"), folder)
    assert asyncio.run(self_test_problem(ONNX, folder)) == ""
    whole = manifest("digits-mlp")
    wrong = replace(
        whole, selftest=replace(whole.selftest, eval_loss=whole.selftest.eval_loss + 1)
    )
    (folder / "manifest.json").write_bytes(wrong.to_json())
    problem = asyncio.run(self_test_problem(ONNX, folder))
    assert problem.startswith("self-test: evaluation loss is")
