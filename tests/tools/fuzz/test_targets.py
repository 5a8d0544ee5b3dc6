"""Every target holds for some inputs in every run of the tests, and knows its seeds."""

import logging
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from tools.fuzz.campaign import Campaign
from tools.fuzz.messages import MESSAGES as SEEDS
from tools.fuzz.target import Target
from tools.fuzz.targets import TARGETS, target_named
from wire_protocol.codecs import CODECS
from wire_protocol.errors import ConfigError
from wire_protocol.messages import MESSAGES

INPUTS = 400
FEW = 100
"""Of files that are read and parsed in milliseconds."""
every_target = pytest.mark.parametrize(
    "target", TARGETS, ids=[target.name for target in TARGETS]
)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Let nobody write a line for each of thousands of refused messages."""
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


@every_target
def test_no_input_ends_in_another_exception_or_takes_too_much(target: Target) -> None:
    inputs = FEW if target.group == "settings" else INPUTS
    outcome = Campaign(target, seed=f"suite/{target.name}").run(inputs)
    assert outcome.findings == []
    assert outcome.inputs == inputs
    assert outcome.places > 1


@every_target
def test_seeds_are_valid_and_keep_their_shape(target: Target, tmp_path: Path) -> None:
    entry = target.open(tmp_path)
    kept = 0
    for seed in target.seeds:
        entry(seed)
        try:
            text, rest = target.shape.split(seed)
        except ValueError:  # a message without a frame
            continue
        kept += 1
        assert target.shape.split(target.shape.join(text, rest)) == (text, rest)
    assert kept > len(target.seeds) / 2


@every_target
def test_most_mutations_keep_the_shape(target: Target) -> None:
    rng = Random(1)
    kept = 0
    for _ in range(100):
        changed = target.shape.mutated(rng.choice(target.seeds), rng=rng)
        try:
            target.shape.split(changed)
        except ValueError:
            continue
        kept += 1
    assert kept > 60


def test_every_message_and_codec_has_its_seeds() -> None:
    assert {message.kind for message in SEEDS} == set(MESSAGES)
    assert {f"codec {name}" for name in CODECS} <= {one.name for one in TARGETS}


def test_targets_have_names_of_their_own() -> None:
    assert len({target.name for target in TARGETS}) == len(TARGETS)
    with pytest.raises(ConfigError, match="choose from"):
        target_named("no parser")
