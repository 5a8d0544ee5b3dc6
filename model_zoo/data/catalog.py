"""The data sets by name, each with the model that suits it.

>>> load("digits", seed=0, environ={}).example_shape
(64,)
>>> SETS["sp-sw-har"].default_model
'har-cnn1d'
"""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from model_zoo import own_folder
from model_zoo.data import (
    citylearn_homes,
    digits,
    fsdd,
    mnist_by_writer,
    own_data,
    skab,
    sp_sw_har,
    uci_har,
)
from model_zoo.data.dataset import Dataset
from model_zoo.data.origin import load_origin
from model_zoo.data.partition import seeded
from wire_protocol.errors import ConfigError

Environ = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Entry:
    """One data set: its default model (none: the user names one) and its loader."""

    summary: str
    default_model: str | None
    load: Callable[[int, Environ], Dataset]


SETS: Final[Mapping[str, Entry]] = {
    "digits": Entry(
        "1,797 images of 8 x 8, ships with scikit-learn",
        "digits-mlp",
        lambda seed, _: digits.read(seeded(seed)),
    ),
    "sp-sw-har": Entry(
        "8,355 inertial windows, a client is one of 23 people",
        "har-cnn1d",
        lambda _, environ: sp_sw_har.assemble(load_origin(sp_sw_har.ORIGIN, environ)),
    ),
    "sp-sw-har-by-place": Entry(
        "the same, a client is one of 46 phones and watches",
        "har-cnn1d",
        lambda _, environ: sp_sw_har.assemble(
            load_origin(sp_sw_har.ORIGIN, environ), by_place=True
        ),
    ),
    "mnist-by-writer": Entry(
        "70,000 images of 28 x 28, a client is one of 539 writers",
        "mnist-cnn",
        lambda _, environ: mnist_by_writer.assemble(
            load_origin(mnist_by_writer.ORIGIN, environ)
        ),
    ),
    "fsdd": Entry(
        "3,000 spoken digits, a client is one of 5 devices of 6 people",
        "kws-dscnn",
        lambda _, environ: fsdd.assemble(load_origin(fsdd.ORIGIN, environ)),
    ),
    "fsdd-by-speaker": Entry(
        "the same, a client is one of 6 people",
        "kws-dscnn",
        lambda _, environ: fsdd.assemble(
            load_origin(fsdd.ORIGIN, environ), by_speaker=True
        ),
    ),
    "uci-har": Entry(
        "10,299 windows of 265 motion features, a client is one of 30 people",
        "har-mlp",
        lambda _, environ: uci_har.assemble(load_origin(uci_har.ORIGIN, environ)),
    ),
    "skab": Entry(
        "1,949 windows of a water pump, a client is one of 35 runs",
        "pump-autoencoder",
        lambda _, environ: skab.assemble(load_origin(skab.ORIGIN, environ)),
    ),
    "citylearn-homes": Entry(
        "148,512 days of hourly load, a client is one of 17 homes",
        "energy-gru",
        lambda _, environ: citylearn_homes.assemble(
            load_origin(citylearn_homes.ORIGIN, environ)
        ),
    ),
}


def load(name: str, *, seed: int, environ: Environ) -> Dataset:
    """Load the data set called ``name``.

    Args:
        name: A key of ``SETS``.
        seed: Decides the hold-out of a set that has no published one.
        environ: The process environment, read by the caller.

    Raises:
        ConfigError: The name is unknown, or the set cannot be had.
    """
    return entry(name).load(seed, environ)


def entry(name: str) -> Entry:
    """Return the entry called ``name``, or raise naming the nearest one.

    The path of a folder with ``data.py`` is a data set as well, whose own model suits.
    """
    if name in SETS:
        return SETS[name]
    if own_folder.is_folder(name):
        folder = Path(name)
        return Entry("your own", name, lambda _seed, _environ: own_data.read(folder))
    near = difflib.get_close_matches(name, SETS, n=1)
    remedy = f"did you mean {near[0]}?" if near else f"choose one of {', '.join(SETS)}"
    raise ConfigError(f"there is no data set {name!r}", remedy=remedy)
