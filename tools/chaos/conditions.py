"""The conditions a federation runs under, from its start. This module is pure."""

from dataclasses import dataclass
from typing import Final, Literal

from tools.chaos.weather import Weather

DEADLINE_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Conditions:
    """What holds for the whole run.

    Attributes:
        rounds: At least so many.
        endless: The server merges rounds until it is told to stop.
        weather: Of every device's link; None connects them directly.
        server_weather: Of the server's link.
        small_disks: Who has its state folder on a small disk: the server, or the first
            device.
        clock: Whose wall clock is false: everybody's, or all but the broker's.
        artifact_bytes: To this size the model is grown; 0 leaves it as it is.
        resend_s: The server's, a quarter of its default: what is lost costs less time.
        absent: So many devices more are waited for, in vain: nobody ever trains.
    """

    rounds: int = 0
    endless: bool = False
    weather: Weather | None = None
    server_weather: Weather | None = None
    small_disks: frozenset[Literal["server", "device"]] = frozenset()
    clock: Literal["", "everybody", "edgefed"] = ""
    artifact_bytes: int = 0
    resend_s: float = 0.5
    absent: int = 0
