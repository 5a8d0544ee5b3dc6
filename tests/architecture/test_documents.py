"""Documents name everything there is, and nothing that is not."""

import re
from pathlib import Path

import pytest

from broker_server import config as server_config
from edge_agent import config as agent_config
from tools.chaos.scenarios import SCENARIOS
from tools.cli import GROUPS
from wire_protocol.codecs import CODECS
from wire_protocol.errors import EdgefedError, Reason
from wire_protocol.messages import MESSAGES

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PROTOCOL = (ROOT / "docs/protocol.md").read_text(encoding="utf-8")
ERRORS = (ROOT / "docs/errors.md").read_text(encoding="utf-8")


def _children(kind: type[EdgefedError]) -> list[type[EdgefedError]]:
    return [
        kind,
        *(deep for child in kind.__subclasses__() for deep in _children(child)),
    ]


@pytest.mark.parametrize("kind", sorted(MESSAGES))
def test_every_message_is_in_the_protocol(kind: str) -> None:
    assert f"`{kind}`" in PROTOCOL


@pytest.mark.parametrize("codec", sorted(CODECS))
def test_every_codec_is_documented(codec: str) -> None:
    assert f"`{codec}`" in (ROOT / "docs/codec.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_is_documented(reason: Reason) -> None:
    assert f"`{reason}`" in ERRORS


def test_every_exit_code_is_documented() -> None:
    documented = {
        int(code) for code in re.findall(r"^\| (\d+) \|", ERRORS, re.MULTILINE)
    }
    raised = {kind.exit_code for kind in _children(EdgefedError)}
    assert documented == {0, 130, *raised}


@pytest.mark.parametrize("scenario", list(SCENARIOS))
def test_every_scenario_of_chaos_is_documented(scenario: str) -> None:
    assert f"| `{scenario}` |" in (ROOT / "docs/chaos.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("group", sorted(GROUPS))
def test_the_readme_names_every_command(group: str) -> None:
    assert f"edgefed {group}" in README


def test_the_readme_names_no_command_that_is_not_there() -> None:
    assert set(re.findall(r"edgefed ([a-z]+)", README)) <= {*GROUPS, "is"}


def test_every_link_in_the_documents_leads_somewhere() -> None:
    for document in [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        *ROOT.glob("docs/**/*.md"),
    ]:
        text = document.read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)#:]+)\)", text):
            assert (document.parent / target).exists(), f"{document.name}: {target}"


@pytest.mark.parametrize("module", [server_config, agent_config])
def test_example_configurations_are_read(module: object) -> None:
    side = "server" if module is server_config else "agent"
    example = ROOT / f"firmware_configs/examples/{side}.toml"
    assert example.is_file()
