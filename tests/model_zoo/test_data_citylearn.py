"""A year of load becomes days, each with the load of the hour that follows."""

from dataclasses import dataclass

import numpy as np
import pytest

from model_zoo.data import citylearn_homes
from model_zoo.data.catalog import load
from model_zoo.data.citylearn_files import CALENDAR, WEATHER
from model_zoo.data.federation import federate
from tests.model_zoo.test_data_catalog import environ_with
from wire_protocol.errors import ConfigError
from wire_protocol.npz import Array

HOURS = 24 * 7 * 6


def year() -> dict[str, Array]:
    """Return a short year: the load is the number of the hour, plus 10,000 a home."""
    hour = np.arange(HOURS)
    calendar = np.zeros((HOURS, len(CALENDAR)), np.uint8)
    calendar[:, CALENDAR.index("hour")] = hour % 24 + 1
    calendar[:, CALENDAR.index("day_type")] = hour // 24 % 7 + 1
    weather = np.zeros((HOURS, len(WEATHER)), np.float32)
    weather[:, 0] = hour / 10
    weather[:, 2], weather[:, 3] = 300, 100
    homes = np.arange(1, 18)[:, np.newaxis]
    return {
        "load_kwh": (10_000 * homes + hour).astype(np.float32),
        "calendar": calendar,
        "weather": weather,
    }


DATASET = citylearn_homes.assemble(year())


def test_a_target_follows_its_day_and_is_not_in_it() -> None:
    assert DATASET.example_shape == (24, 6)
    assert DATASET.y.shape == (17 * (HOURS - 24), 1)
    steps = DATASET.y - DATASET.x[:, :, 0]
    assert np.array_equal(steps, np.tile(np.arange(24, 0, -1.0), (len(DATASET), 1)))
    home = DATASET.y[:, 0] // 10_000
    assert np.array_equal(home, DATASET.client + 1)


def test_every_channel_is_of_the_hour_its_load_is_of() -> None:
    x = DATASET.x.astype(np.float64)
    hour = x[..., 0] % 10_000
    angle = 2 * np.pi * (hour % 24 + 1) / 24
    np.testing.assert_allclose(x[..., 1], np.sin(angle), atol=1e-6)
    np.testing.assert_allclose(x[..., 2], np.cos(angle), atol=1e-6)
    assert np.array_equal(x[..., 3], hour // 24 % 7 >= 5)
    np.testing.assert_allclose(x[..., 4], hour / 10, rtol=1e-6)
    assert set(x[..., 5].ravel()) == {400.0}


def test_the_last_four_weeks_are_held_out_by_their_targets() -> None:
    hour = DATASET.y[:, 0] % 10_000
    assert np.array_equal(DATASET.held_out, hour >= HOURS - 28 * 24)
    made = federate(DATASET, seed=0)
    assert len(made.shards) == 17
    assert (
        max(shard.y.max() % 10_000 for shard in made.shards if shard.y is not None)
        < (made.test_y % 10_000).min()
    )


def test_every_fourth_home_is_unseen() -> None:
    made = federate(DATASET, seed=0, unseen=True)
    assert [shard.name for shard in made.shards] == [
        f"home-{home:02d}" for home in range(1, 18) if home % 4
    ]
    assert set((made.test_y // 10_000).ravel()) == {4, 8, 12, 16}


def test_predictors_that_learn_nothing_look_one_and_24_hours_back() -> None:
    assert set((DATASET.y - citylearn_homes.latest_hour(DATASET.x)).ravel()) == {1.0}
    assert set((DATASET.y - citylearn_homes.day_before(DATASET.x)).ravel()) == {24.0}


@dataclass(frozen=True)
class Cut:
    """An array without its last rows or columns."""

    name: str
    rows: slice
    columns: slice


@pytest.mark.parametrize(
    "cut",
    [
        Cut("load_kwh", slice(-1), slice(None)),
        Cut("load_kwh", slice(None), slice(-1)),
        Cut("weather", slice(-1), slice(None)),
        Cut("weather", slice(None), slice(-1)),
        Cut("calendar", slice(-1), slice(None)),
        Cut("calendar", slice(None), slice(-1)),
    ],
    ids=str,
)
def test_arrays_that_contradict_each_other_are_refused(cut: Cut) -> None:
    arrays = year()
    arrays[cut.name] = arrays[cut.name][cut.rows, cut.columns]
    with pytest.raises(ConfigError, match="do not make 17 homes"):
        citylearn_homes.assemble(arrays)


def test_real_homes_beat_nothing_by_looking_back() -> None:
    dataset = load("citylearn-homes", seed=0, environ=environ_with("citylearn_homes"))
    made = federate(dataset, unseen=True, seed=0)
    assert (len(made.shards), len(made.test_y)) == (13, 4 * (8760 - 24))
    latest = np.abs(made.test_y - citylearn_homes.latest_hour(made.test_x)).mean()
    before = np.abs(made.test_y - citylearn_homes.day_before(made.test_x)).mean()
    assert (round(float(latest), 3), round(float(before), 3)) == (0.499, 0.554)
