"""What an idle agent does not load, and that it is there when it is used after all."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
UNUSED = (
    *("http.client", "email.message", "urllib.response", "tempfile", "zipfile"),
    *("nacl", "cryptography", "edge_agent.joining", "edge_agent.renewal"),
)


def ran(code: str) -> object:
    """Run ``code`` in a new interpreter; return what it printed, as JSON."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    )
    return json.loads(done.stdout)


def test_an_agent_without_a_fleet_loads_nothing_it_does_not_use() -> None:
    loaded = ran(
        "import edge_agent.cli, json, sys\n"
        f"print(json.dumps([n for n in {UNUSED!r} if n in sys.modules]))"
    )
    assert loaded == []


USES = {
    "a proxy": "urllib.request.getproxies() is not None",
    "a class": "issubclass(urllib.request.Request, object)",
    "as a name": "urllib.request.__name__ == 'urllib.request'",
    "uuid": "len(uuid.uuid4().bytes) == 16",
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_what_was_postponed_is_there_when_it_is_used(use: str) -> None:
    assert ran(
        "import edge_agent.postponed, json, urllib.request, uuid\n"
        f"first = {use}\n"
        "import urllib.request, uuid\n"
        "from urllib.request import urlopen\n"
        f"print(json.dumps([first, {use}, urlopen.__module__]))"
    ) == [True, True, "urllib.request"]
