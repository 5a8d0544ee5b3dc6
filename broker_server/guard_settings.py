"""``[guard]`` of ``server.toml``: what holds broken and malicious devices in check.

This module is pure.
"""

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from wire_protocol.errors import ConfigError

GuardMode: TypeAlias = Literal["mean", "rfa", "centered-clip", "trimmed-mean", "median"]
DENSE_ONLY: Final[frozenset[GuardMode]] = frozenset({"trimmed-mean", "median"})
"""Modes that look at every parameter alone."""
SPARSE_CODECS: Final = frozenset({"uq"})
"""Codecs most of whose values are zero: the median of every parameter would be."""


@dataclass(frozen=True, slots=True)
class GuardSection:
    """How updates are merged, and when a device is put in quarantine.

    Attributes:
        mode: The rule that makes one delta of all; see docs/robustness.md.
        clip: An update is at most so many times as long as the running median norm.
        window: Merges over which the median runs, this one included.
        weight_cap: An update counts for at most so many times the median number of
            examples of its cohort, in mode "mean"; in "rfa" and "centered-clip" for at
            most the median, in the other two every update counts alike.
        trim: Part of the updates that trimmed-mean leaves out at either end.
        quarantine: Whether devices that misbehave again and again are put in it.
        strikes: After how many more bad than good updates.
        quarantine_rounds: For how many rounds, the first time; then twice as many.
    """

    mode: GuardMode = "mean"
    clip: float = 1.0
    window: int = 5
    weight_cap: float = 5.0
    trim: float = 0.25
    quarantine: bool = True
    strikes: int = 3
    quarantine_rounds: int = 8

    def __post_init__(self) -> None:
        for key, value, least, most in (
            ("clip", self.clip, 0.1, 100.0),
            ("window", self.window, 1, 1000),
            ("weight_cap", self.weight_cap, 1.0, 1e6),
            ("trim", self.trim, 0.0, 0.49),
            ("strikes", self.strikes, 1, 1000),
            ("quarantine_rounds", self.quarantine_rounds, 1, 100_000),
        ):
            if not least <= value <= most:
                raise ConfigError(
                    f"{key} is from {least:g} to {most:g}, not {value:g}",
                    remedy=f"correct {key}",
                )

    def check_codec(self, uplink: str) -> None:
        """See that the mode can make sense of updates in the codec ``uplink``.

        Raises:
            ConfigError: It cannot.
        """
        if self.mode in DENSE_ONLY and uplink.partition(":")[0] in SPARSE_CODECS:
            raise ConfigError(
                f'[guard] mode "{self.mode}" looks at every parameter alone, and most '
                f'values of the codec "{uplink}" are zero',
                remedy='set [codec] uplink = "int8", or mode = "rfa"',
            )
