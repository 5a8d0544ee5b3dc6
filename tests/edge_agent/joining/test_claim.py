"""Tokens: whole or refused, from a file or standard input, and wiped."""

import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.joining.claim import read_claim, token_from, wipe
from tests.edge_agent.joining.scripted_desk import CLAIM, ScriptedDesk, new_fleet
from wire_protocol.errors import ConfigError

DESK = ScriptedDesk(Path("none"))
TOKEN = DESK.token(device="kitchen")


def test_a_token_says_who_where_and_by_which_key() -> None:
    claim = read_claim(f"  {TOKEN}\n")
    assert (claim.token.fleet, claim.token.device) == ("home", "kitchen")
    assert claim.signer == CLAIM
    assert claim.fleet_key.public == DESK.signer.public
    assert claim.topics.fleet == "home"


@given(at=st.integers(0, len(TOKEN) - 1), to=st.characters(codec="ascii"))
def test_a_changed_character_is_found_or_harmless(at: int, to: str) -> None:
    changed = TOKEN[:at] + to + TOKEN[at + 1 :]
    try:
        claim = read_claim(changed)
    except ConfigError as error:
        assert "efd1:" in error.remedy  # noqa: PT017 - either is right
        return
    # nothing vouches for where the broker is, nor for the fleet's key but itself
    assert claim.signer == CLAIM


@pytest.mark.parametrize("length", range(0, len(TOKEN), 97))
def test_a_part_of_a_token_is_refused(length: int) -> None:
    with pytest.raises(ConfigError, match="no token, or a damaged one"):
        read_claim(TOKEN[:length])


OTHERS = {
    "another key": {"seed": b"x" * 32},
    "another claim": {"claim": "claim.1111111111"},
    "another authority": {"authority": new_fleet(2).certificate.der},
    "a fleet that is no topic": {"fleet": "a/#"},
    "no certificate": {"certificate": b"none"},
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_parts_that_do_not_belong_together_are_refused(other: object) -> None:
    with pytest.raises(ConfigError):
        read_claim(DESK.token(**other))  # type: ignore[arg-type]


def test_a_token_comes_from_a_file_or_from_standard_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "token"
    path.write_text(TOKEN + "\n")
    assert read_claim(token_from(path))
    monkeypatch.setattr("sys.stdin", io.StringIO(TOKEN))
    assert token_from(None) == TOKEN
    with pytest.raises(ConfigError, match="cannot be read"):
        token_from(tmp_path / "none")


def test_what_is_wiped_is_overwritten_first(tmp_path: Path) -> None:
    path, other = tmp_path / "token", tmp_path / "link"
    path.write_text(TOKEN)
    other.hardlink_to(path)
    wipe(path)
    assert not path.exists()
    assert other.read_bytes() == bytes(len(TOKEN))
    wipe(path)  # it may be gone already
