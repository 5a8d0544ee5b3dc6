"""docs/extend.md, executed: what a newcomer types works as it is written."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from broker_server.config import load_config as load_server_config
from edge_agent.config import load_config as load_agent_config
from model_zoo.importing.constructors import MODULES
from model_zoo.importing.keras_layers import MAKERS as KERAS_MAKERS
from model_zoo.importing.onnx_layers import MAKERS as ONNX_MAKERS
from tests.scenarios.commands import ROOT, processes_naming
from tools.cli import find_artifact

DOCUMENT = (ROOT / "docs/extend.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", DOCUMENT, re.MULTILINE | re.DOTALL)


def environ(folder: Path) -> dict[str, str]:
    """Return an environment in which ``edgefed`` and ``python3`` are those of here."""
    programs = folder / "bin"
    programs.mkdir()
    for name, words in (("edgefed", "-m tools.cli"), ("python3", "")):
        program = programs / name
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" {words} "$@"\n')
        program.chmod(0o755)
    path = f"{programs}:{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_command_of_the_document_works(tmp_path: Path) -> None:
    here = environ(tmp_path)
    work = tmp_path / "work"
    work.mkdir()
    for block in blocks("bash"):
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block],
            check=False,
            cwd=work,
            env=here,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
    figures = json.loads((work / "figures.json").read_text())
    assert figures["parameters"] > 0
    assert len(figures["devices"]) == 6
    # two classes, evenly spread: chance is a half
    assert figures["quality"] > 0.8
    assert processes_naming(str(tmp_path)) == []


def test_the_commands_of_the_document_are_there() -> None:
    commands = re.findall(r"^edgefed .*$", "".join(blocks("bash")), re.MULTILINE)
    assert len(commands) == 6
    assert "edgefed zoo new room-sensor --data csv" in commands


def test_the_configurations_of_the_document_are_read(tmp_path: Path) -> None:
    folder = tmp_path / "room-sensor"
    (folder / "artifact").mkdir(parents=True)
    (folder / "artifact/manifest.json").write_text("{}")
    texts = {}
    for block in blocks("toml"):
        title, _, text = block.partition("\n")
        texts[title.removeprefix("# ")] = text
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    server = load_server_config(tmp_path / "server.toml")
    assert find_artifact(str(tmp_path / server.model.artifact)) == folder / "artifact"
    agent = load_agent_config(tmp_path / "agent.toml")
    assert agent.data.python.file == folder / "data.py"


@pytest.mark.parametrize("layer", sorted(MODULES))
def test_every_layer_is_in_the_document(layer: str) -> None:
    assert f"`{layer}`" in DOCUMENT


@pytest.mark.parametrize("kind", sorted({*KERAS_MAKERS, *ONNX_MAKERS}))
def test_every_layer_that_is_imported_is_in_the_document(kind: str) -> None:
    stem = re.sub(r"(?<=ing|ion)[12]D$", "", kind)
    stem = re.sub(r"(Pooling|Sampling|Padding)[12]D$", r"\1", stem)
    assert re.search(rf"\b{stem}\b", DOCUMENT)
