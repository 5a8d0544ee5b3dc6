"""Errors, grouped by whose fault they are, and the reasons counted on the wire.

Every message says what was expected and what came; ``remedy`` says what to do next.
Expected errors become one line and an exit code in exactly one place, ``tools/cli.py``.
This module is pure: no I/O, no clock.
"""

from enum import StrEnum
from typing import Final

INTERRUPTED: Final = 130
"""Exit code after Ctrl-C, as shells have it."""


class Reason(StrEnum):
    """Why a message, an update or an offer was refused: stable, and free of data."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    MALFORMED = "malformed"
    TOO_LARGE = "too_large"
    NOT_IN_COHORT = "not_in_cohort"
    WRONG_ROUND = "wrong_round"
    WRONG_BASE = "wrong_base"
    WRONG_SCHEMA = "wrong_schema"
    WRONG_CODEC = "wrong_codec"
    NOT_FINITE = "not_finite"
    ROUND_FAILED = "round_failed"
    FETCH_FAILED = "fetch_failed"
    TRAINING_FAILED = "training_failed"
    BUDGET_SPENT = "budget_spent"
    SELF_TEST_FAILED = "self_test_failed"
    LEAVING = "leaving"
    STALE = "stale"
    QUARANTINED = "quarantined"
    BUSY = "busy"
    LOW_MEMORY = "low_memory"
    LOW_BATTERY = "low_battery"
    LOW_DISK = "low_disk"
    TOO_HOT = "too_hot"
    OVER_LIMIT = "over_limit"
    UNTRUSTED = "untrusted"
    UNKNOWN_DEVICE = "unknown_device"
    REVOKED = "revoked"
    CLAIM_OVER = "claim_over"
    NAME_TAKEN = "name_taken"


class EdgefedError(Exception):
    """An expected failure: ``problem`` and, after a colon-free dash, its ``remedy``.

    >>> str(ConfigError("agent.toml has no [data]", remedy="add it"))
    'agent.toml has no [data] - add it'
    """

    exit_code = 1

    def __init__(self, problem: str, *, remedy: str = "") -> None:
        super().__init__(f"{problem} - {remedy}" if remedy else problem)
        self.problem = problem
        self.remedy = remedy


class ConfigError(EdgefedError):
    """What the user wrote (file, key, option) cannot be meant. Exit code 2."""

    exit_code = 2


class RefusedError(EdgefedError):
    """Well formed but unsafe or impossible here; nothing was done. Exit code 3."""

    exit_code = 3


class TransportError(EdgefedError):
    """The broker or the link is at fault; worth trying again. Exit code 4."""

    exit_code = 4


class ShutOutError(TransportError):
    """The broker refuses who we are, or is not ours: people must act. Exit code 4."""


class TrainingError(EdgefedError):
    """A runtime or the local work failed. Exit code 5."""

    exit_code = 5


class EncodeError(EdgefedError):
    """What we were about to send has no representation: we are at fault."""


class DecodeError(EdgefedError):
    """What a peer sent is not what it must be: drop it, count it, go on."""

    def __init__(self, problem: str, *, reason: Reason = Reason.MALFORMED) -> None:
        super().__init__(problem)
        self.reason = reason


class TrustError(DecodeError):
    """What came is not signed by who must have signed it: drop it, count it, go on."""

    def __init__(self, problem: str, *, reason: Reason = Reason.UNTRUSTED) -> None:
        super().__init__(problem, reason=reason)


class EmptyRoundError(EdgefedError):
    """A round was to be merged without one accepted update."""
