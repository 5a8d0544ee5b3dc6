"""Spreading examples over devices: at random, by label, or by whose they are.

Every function returns one sorted array of indices for each device; together they hold
every example exactly once. This module is pure: randomness is an argument.

>>> parts = iid(10, 3, rng=seeded(7))
>>> [len(part) for part in parts]
[4, 3, 3]
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from wire_protocol.errors import ConfigError

Indices = NDArray[np.intp]
"""Places of examples in a data set, ascending."""

MIN_EXAMPLES: Final = 10
"""The fewest examples a device gets, as in Li et al. 2022 (NIID-Bench)."""
ALPHAS: Final = (1e-3, 1e6)


def seeded(seed: int, stream: int = 0) -> np.random.Generator:
    """Return the generator of ``seed``; other ``stream`` numbers are independent."""
    if seed < 0:
        raise ConfigError(f"a seed is 0 or more, not {seed}")
    return np.random.default_rng((seed, stream))


def iid(
    n: int, devices: int, *, rng: np.random.Generator, minimum: int = MIN_EXAMPLES
) -> list[Indices]:
    """Deal ``n`` shuffled examples evenly; sizes differ by at most one."""
    _check_devices(n, devices, minimum=min(minimum, 1))
    order = rng.permutation(n)
    return [np.sort(part) for part in np.array_split(order, devices)]


def check_alpha(alpha: float) -> None:
    """Raise ``ConfigError`` unless ``alpha`` is a concentration one can draw with."""
    if not ALPHAS[0] <= alpha <= ALPHAS[1]:
        raise ConfigError(
            f"alpha is from {ALPHAS[0]:g} to {ALPHAS[1]:g}, not {alpha:g}"
        )


def dirichlet(
    y: NDArray[np.integer],
    devices: int,
    *,
    alpha: float,
    rng: np.random.Generator,
    minimum: int = MIN_EXAMPLES,
) -> list[Indices]:
    """Spread each class by proportions drawn from a symmetric Dirichlet(``alpha``).

    Small ``alpha`` gives devices that know few classes, large ``alpha`` even mixes
    (Hsu, Qi, Brown 2019). Redrawing until every device has enough may never end, so a
    device short of ``minimum`` receives random examples of the largest one instead.

    Args:
        y: Labels, shape ``[N]``.
        devices: How many parts to make.
        alpha: Concentration, 0.001 to 1,000,000.
        rng: Source of randomness; the same state gives the same parts.
        minimum: The fewest examples of a part.

    Raises:
        ConfigError: ``alpha`` is out of range or there are too few examples.
    """
    check_alpha(alpha)
    _check_devices(len(y), devices, minimum=minimum)
    owner = np.zeros(len(y), np.intp)
    for label in np.unique(y):
        members = rng.permutation(np.flatnonzero(y == label))
        shares = rng.dirichlet(np.full(devices, alpha))
        ends = np.rint(np.cumsum(shares) * len(members)).astype(np.intp)
        owner[members] = np.searchsorted(ends[:-1], np.arange(len(members)), "right")
    _fill_short(owner, devices, rng=rng, minimum=minimum)
    return [np.flatnonzero(owner == device) for device in range(devices)]


def shards(
    y: NDArray[np.integer], devices: int, *, each: int, rng: np.random.Generator
) -> list[Indices]:
    """Sort by class, cut into ``devices * each`` shards, deal ``each`` to a device.

    With two shards a device knows two classes, or a few more where a cut falls between
    classes (McMahan et al. 2017). Shards differ in size by at most one.

    Args:
        y: Labels, shape ``[N]``; within a class the order is random.
        devices: How many parts to make.
        each: Shards a device gets.
        rng: Source of randomness; the same state gives the same parts.

    Raises:
        ConfigError: There are too few examples for as many shards.
    """
    _check_devices(len(y), devices, minimum=each)
    order = rng.permutation(len(y))
    order = order[np.argsort(y[order], kind="stable")]
    cuts = np.array_split(order, devices * each)
    dealt = rng.permutation(len(cuts)).reshape(devices, each)
    return [np.sort(np.concatenate([cuts[cut] for cut in hand])) for hand in dealt]


def by_client(client: NDArray[np.integer], devices: int | None = None) -> list[Indices]:
    """Give every natural client a device, or deal the clients over fewer devices.

    Clients are taken in ascending order and dealt like cards: device ``k`` of ``d``
    holds clients ``k, k + d, k + 2d, ...`` of those that occur.

    Args:
        client: Whose each example is, shape ``[N]``.
        devices: How many parts to make; one for each client that occurs when omitted.

    Raises:
        ConfigError: There are more devices than clients.
    """
    names, place = np.unique(client, return_inverse=True)
    wanted = len(names) if devices is None else devices
    if not 1 <= wanted <= len(names):
        raise ConfigError(
            f"{wanted} devices cannot share {len(names)} natural clients",
            remedy=f"choose 1 to {len(names)} devices, or an alpha to mix the clients",
        )
    return [np.flatnonzero(place % wanted == device) for device in range(wanted)]


def stratified(
    y: NDArray[np.integer], *, fraction: float, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Mark ``fraction`` of the examples of every class, rounded class by class."""
    marked = np.zeros(len(y), np.bool_)
    for label in np.unique(y):
        members = rng.permutation(np.flatnonzero(y == label))
        marked[members[: round(fraction * len(members))]] = True
    return marked


def _check_devices(n: int, devices: int, *, minimum: int) -> None:
    if devices < 1 or n < devices * minimum:
        raise ConfigError(
            f"{devices} devices with at least {minimum} examples each cannot share "
            f"{n} examples",
            remedy=f"choose 1 to {n // max(minimum, 1)} devices",
        )


def _fill_short(
    owner: Indices, devices: int, *, rng: np.random.Generator, minimum: int
) -> None:
    """Move examples in place until every device owns at least ``minimum``."""
    sizes = np.bincount(owner, minlength=devices)
    while sizes.min() < minimum:
        short, largest = int(sizes.argmin()), int(sizes.argmax())
        # At least one: n >= devices * minimum, so the largest has some to spare.
        count = min(minimum - sizes[short], sizes[largest] - minimum)
        moved = rng.permutation(np.flatnonzero(owner == largest))[:count]
        owner[moved] = short
        sizes = np.bincount(owner, minlength=devices)
