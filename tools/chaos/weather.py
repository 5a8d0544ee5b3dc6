"""The weather of a link: what its connections suffer. This module is pure."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Weather:
    """What connections suffer; it may change while they last.

    Attributes:
        delay_s: How long every byte is under way, in each direction.
        bytes_per_s: Of each connection and direction; None is as fast as it goes.
        loss: Part of the PUBLISH packets that is acknowledged, but not passed on.
        doubling: Part of the PUBLISH packets that is passed on twice.
        lag_s: The second one comes at once or within this time, half of them each.
        cut_every_s: Mean time until a connection is reset; None is never.
    """

    delay_s: float = 0.0
    bytes_per_s: int | None = None
    loss: float = 0.0
    doubling: float = 0.0
    lag_s: float = 0.0
    cut_every_s: float | None = None
