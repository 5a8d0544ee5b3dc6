"""A year of hourly load in 17 homes: what will the next hour take?

An example is the past day of a home, shape ``[24, 6]``, the latest hour last: load in
kWh; sine and cosine of the hour of the day; 1 at weekends; outdoor temperature in
degrees Celsius; direct and diffuse sun together, in W/m2. The target is the load of the
hour that follows, in kWh, shape ``[1]``. Nothing of that hour is in the example.

The hold-out are the last four weeks of every home, by the hour to be told. Every fourth
home is unseen. All homes are of one neighbourhood in one year: they share the weather.

Loads are noisy: two predictors that learn nothing, the load of the latest hour and that
of 24 hours before the target, are what a model is to be compared with.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from model_zoo.data import citylearn_files
from model_zoo.data.dataset import Dataset, Examples
from model_zoo.data.fetch import Download
from model_zoo.data.origin import Origin
from wire_protocol.errors import ConfigError
from wire_protocol.npz import Array

HOMES: Final = 17
UNSEEN: Final = frozenset({4, 8, 12, 16})
"""Numbers of the unseen homes, counted from 1 as in the publication."""
HISTORY: Final = 24
HELD_OUT_HOURS: Final = 4 * 7 * 24
WEEKEND: Final = (6, 7)
"""Day types: 1 is Monday. 8, a holiday, counts as a weekday."""
CHANNELS: Final = (
    "load_kwh",
    "hour_sin",
    "hour_cos",
    "weekend",
    "temperature_c",
    "sun_w_per_m2",
)

_DIGESTS: Final = (
    "7c80028c65f636dfdaea168447fddc1cd71da4cc16329e2e0fba1f723d2c916e",
    "9742af5be4e83606b0f0c9a83ecc6312b860a049cbced7e6142a169769b57cf9",
    "981b24cd13fdfc1ffc688fa7a96e83e138be073b5ec3e27cd4ce3e457bbe87f1",
    "eff80b585e2e839b95f591914c83e6daefad01884ab8acdd381cc0ba5134a530",
    "0579790ee34c11b8ba6b7430e1b85d0506353399da76621d018b552f8d5d62d9",
    "ead9a4c2a6c5ca2526dbf747584a84c06d5990eb62c9482db607dc5719c02176",
    "d140651d84c05dbd1f9a32a17fba5aaa21204685d37d508ebd17398783ccd1dc",
    "a912f82d8e11aef7e40f6e1af087ac975c5d41dd570dbba50eb5ac0a5f715db5",
    "9be368c246f58050f56fc64d31df2966be2e74127aade0b330b2c40849ca08d6",
    "d8e4abd5d71ce889423e3239244940ed1c7f7efd0312b17c313ec138883739a4",
    "c836eed05a64c8d1b1b1e01292f0dd1c4e41f884b5567020a8047af98fe506c9",
    "699e9a57a866d6e657974df00439f904b3775cd5bed64768704dd0bf4a8fdc83",
    "77a0bb52f706c32a67938e4db02796ac8ad16f97ab8665eb748a4d1824f0fbe2",
    "07f855121c0084552925579e7e33cf128050745b97e989a227570ef4e1470a1b",
    "67c4c0f78d4598394838b3ba3b853d84b3712de46022bd2aa56ab51b76873606",
    "16da28c7e6ea9bd496945e3e2d402d10aac6a1f71840b0f691a7539165ca0486",
    "cab102276853fce3455b2d21f3d8435e5381079de59a34390985d1f8bb9893c6",
    "a8b6b70d10fd854b211d63b9376e364f21d227d78ece4fadc38b09d47bb0a75f",
)
_RAW: Final = (
    "https://raw.githubusercontent.com/intelligent-environments-lab/CityLearn/"
    "b8bad3141f5efca1a78ed94090af1820b541e467/"
    "data/datasets/citylearn_challenge_2022_phase_all"
)
_FILES: Final = (
    *(f"Building_{home}.csv" for home in range(1, HOMES + 1)),
    "weather.csv",
)

ORIGIN: Final = Origin(
    name="citylearn-homes",
    folder="citylearn_homes",
    arrays={"load_kwh": ("f", 2), "weather": ("f", 2), "calendar": ("u", 2)},
    max_bytes=4 * 1024 * 1024,
    content_sha256="95ff1b2ea7bb588868dcf910325677aab4d3b228584377e50e47eac30ce57637",
    downloads=tuple(
        Download(f"{_RAW}/{name}", digest)
        for name, digest in zip(_FILES, _DIGESTS, strict=True)
    ),
    convert=citylearn_files.convert,
    source="https://github.com/intelligent-environments-lab/CityLearn",
    licence="MIT",
    citation="Nweye, Sankaranarayanan, Nagy, CityLearn Challenge 2022",
)


def assemble(arrays: Mapping[str, Array]) -> Dataset:
    """Make the set of verified ``arrays``; this function is pure.

    Raises:
        ConfigError: The arrays contradict each other.
    """
    load = arrays["load_kwh"].astype(np.float32)
    homes, hours = load.shape
    weather, calendar = arrays["weather"], arrays["calendar"]
    if (
        homes != HOMES
        or (len(weather), len(calendar)) != (hours, hours)
        or hours <= HISTORY
        or weather.shape[1] < len(citylearn_files.WEATHER)
        or calendar.shape[1] < len(citylearn_files.CALENDAR)
    ):
        raise ConfigError(
            f"{ORIGIN.name}: load {list(load.shape)}, weather {list(weather.shape)} "
            f"and calendar {list(calendar.shape)} do not make {HOMES} homes"
        )
    shared = _shared(weather.astype(np.float32), calendar)
    examples = hours - HISTORY
    held_out = np.arange(HISTORY, hours) >= hours - HELD_OUT_HOURS
    client = np.repeat(np.arange(HOMES, dtype=np.int32), examples)
    return Dataset(
        name=ORIGIN.name,
        x=np.concatenate([_days(home, shared) for home in load]),
        y=load[:, HISTORY:].reshape(-1, 1),
        held_out=np.tile(held_out, HOMES),
        unseen=np.isin(client + 1, list(UNSEEN)),
        client=client,
        clients=tuple(f"home-{home:02d}" for home in range(1, HOMES + 1)),
        task="regression",
    )


def latest_hour(x: Examples) -> NDArray[np.float32]:
    """Predict, of examples, that the next hour is like the latest, shape ``[N, 1]``."""
    return x[:, -1, :1]


def day_before(x: Examples) -> NDArray[np.float32]:
    """Predict, of examples, that the next hour is as a day before, ``[N, 1]``."""
    return x[:, -HISTORY, :1]


def _shared(weather: NDArray[np.float32], calendar: Array) -> NDArray[np.float32]:
    """Every channel but the load, shape ``[hours, 5]``."""
    hour = calendar[:, citylearn_files.CALENDAR.index("hour")].astype(np.float64)
    angle = 2 * np.pi * hour / 24
    day = calendar[:, citylearn_files.CALENDAR.index("day_type")].astype(np.int64)
    column = citylearn_files.WEATHER.index
    return np.stack(
        [
            np.sin(angle),
            np.cos(angle),
            np.isin(day, WEEKEND),
            weather[:, column("outdoor_dry_bulb_temperature")],
            weather[:, column("direct_solar_irradiance")]
            + weather[:, column("diffuse_solar_irradiance")],
        ],
        axis=1,
    ).astype(np.float32)


def _days(load: NDArray[np.float32], shared: NDArray[np.float32]) -> Examples:
    """Every day of one home that another hour follows, ``[hours - 24, 24, 6]``."""
    hours = np.concatenate([load[:, np.newaxis], shared], axis=1)
    days = np.lib.stride_tricks.sliding_window_view(hours, HISTORY, axis=0)
    return days[:-1].transpose(0, 2, 1)
