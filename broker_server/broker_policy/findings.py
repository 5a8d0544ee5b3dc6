"""Findings: what a check of a broker's configuration came to; this module is pure."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: whether it is well, what it is, what to do."""

    name: str
    well: bool
    told: str
    remedy: str = ""
