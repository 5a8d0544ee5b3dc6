"""Links that are slow, cut, lossy, or say everything twice: weather, and no strikes."""

from typing import Final

from tools.chaos.conditions import Conditions
from tools.chaos.weather import Weather

HEAVY_BYTES: Final = 5_000_000
_SLOW: Final = Weather(bytes_per_s=400_000, cut_every_s=5.0)
_REPEATING: Final = Weather(doubling=0.5, lag_s=2.0)
_LOSSY: Final = Weather(delay_s=0.1, loss=0.02)

CUT: Final = Conditions(
    weather=_SLOW,
    server_weather=Weather(cut_every_s=5.0),
    artifact_bytes=HEAVY_BYTES,
    resend_s=2.0,  # a block takes 80 ms, and whoever was cut off comes back in seconds
)
DOUBLED: Final = Conditions(rounds=12, weather=_REPEATING, server_weather=_REPEATING)
SLOW_AND_LOSSY: Final = Conditions(rounds=12, weather=_LOSSY, server_weather=_LOSSY)
