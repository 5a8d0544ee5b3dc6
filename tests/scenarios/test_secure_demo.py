"""A federation as across machines: TLS, identities, signatures; and no secret told."""

import base64
import json
from pathlib import Path

import pytest

from tests.scenarios.commands import edgefed, processes_naming
from wire_protocol.signing import load_key


@pytest.mark.slow
def test_a_secure_demo_learns_and_tells_no_secret(tmp_path: Path) -> None:
    run = tmp_path / "run"
    done = edgefed(
        *("demo", "--secure", "--devices", "3", "--rounds", "3", "--no-compare"),
        *("--folder", str(run), "--json", str(tmp_path / "out.json")),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / "out.json").read_text())
    for entry in figures["rounds"]:
        assert len(entry["participants"]) == 3
        assert entry["refused"] == {}
    keys = sorted(run.rglob("*.key"))
    assert len(keys) >= 3 + 4  # of the devices; authority, signing, server, broker
    told = done.stdout + done.stderr + json.dumps(figures)
    told += "".join(path.read_text(errors="replace") for path in run.rglob("*.log"))
    for path in keys:
        assert path.stat().st_mode & 0o077 == 0
        seed = load_key(path).seed
        assert seed.hex() not in told
        assert base64.b64encode(seed).decode() not in told
    assert processes_naming(str(tmp_path)) == []
