"""``edgefed zoo``, run in process; what must not import TensorFlow, in its own."""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import pytest

from model_zoo import zoo
from model_zoo.cli import add_commands
from wire_protocol.errors import ConfigError


def run(*words: str) -> int:
    parser = argparse.ArgumentParser()
    add_commands(parser.add_subparsers())
    args = parser.parse_args(["zoo", *words])
    code: int = args.run(args)
    return code


def in_fresh_python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_list_names_every_model_with_its_size(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run("list") == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split() == [
        *("NAME", "DATA", "INPUT", "OUTPUTS", "PARAMETERS"),
        *("TFLITE", "BYTES", "ONNX", "BYTES"),
    ]
    for row, (name, model) in zip(rows, zoo.MODELS.items(), strict=True):
        assert row.split()[:2] == [name, model.data]
        assert str(model.layout.size) in row.split()


def test_path_leads_to_the_manifest(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("path", "har-cnn1d") == 0
    assert (Path(capsys.readouterr().out.strip()) / "manifest.json").is_file()


@pytest.mark.parametrize("command", ["path", "build", "verify"])
def test_an_unknown_name_is_refused_with_the_nearest(command: str) -> None:
    with pytest.raises(ConfigError, match="did you mean har-cnn1d"):
        run(command, "har-cnn")


def test_a_name_like_none_is_sent_to_the_list() -> None:
    with pytest.raises(ConfigError, match="see edgefed zoo list"):
        zoo.model("xyz")


def test_build_writes_where_it_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("build", "digits-mlp", "--out", str(tmp_path / "new")) == 0
    said = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert set(map(Path, said)) == set((tmp_path / "new").iterdir())


def test_build_into_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(ConfigError, match="cannot write"):
        run("build", "digits-mlp", "--out", str(tmp_path / "taken"))


def test_verify_prints_findings_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    given = ("--runtimes", "litert,onnxruntime", "--json")
    assert run("verify", "digits-mlp", *given) == 0
    findings = json.loads(capsys.readouterr().out)
    assert list(findings) == ["digits-mlp"]
    assert all(check["passed"] for check in findings["digits-mlp"])
    agreement = [c for c in findings["digits-mlp"] if " steps" in c["what"]]
    assert [check["limit"] for check in agreement] == [1e-4] * 3


def test_listing_needs_no_training_framework() -> None:
    loaded = in_fresh_python(
        "import argparse, sys\n"
        "from model_zoo.cli import add_commands\n"
        "parser = argparse.ArgumentParser()\n"
        "add_commands(parser.add_subparsers())\n"
        "args = parser.parse_args(['zoo', 'list'])\n"
        "args.run(args)\n"
        "print({'tensorflow', 'onnx', 'onnxruntime'} & set(sys.modules))\n"
    )
    assert loaded.splitlines()[-1] == "set()"


@pytest.mark.parametrize("missing", ["tensorflow", "onnx"])
def test_building_without_a_framework_names_the_extra(
    missing: str, tmp_path: Path
) -> None:
    said = in_fresh_python(
        "import sys\n"
        "from pathlib import Path\n"
        f"sys.modules[{missing!r}] = None\n"
        "from model_zoo import building, zoo\n"
        "from wire_protocol.errors import ConfigError\n"
        "try:\n"
        f"    building.build(zoo.model('digits-mlp'), Path({str(tmp_path)!r}))\n"
        "except ConfigError as error:\n"
        "    print(error)\n"
    )
    assert "pip install tensorflow onnx" in said
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_runtime_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean onnxruntime"):
        run("verify", "digits-mlp", "--runtimes", "litert,onnx-runtime")
