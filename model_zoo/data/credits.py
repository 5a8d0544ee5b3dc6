"""Whom to thank for each data set: source, licence and citation. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

from model_zoo.data import (
    citylearn_homes,
    fsdd,
    mnist_by_writer,
    skab,
    sp_sw_har,
    uci_har,
)
from model_zoo.data.origin import Origin


@dataclass(frozen=True, slots=True)
class Credit:
    """Where a set comes from, what one may do with it, and what to cite."""

    source: str
    licence: str
    citation: str

    @classmethod
    def of(cls, origin: Origin) -> Self:
        """Return the credit that ``origin`` states."""
        return cls(origin.source, origin.licence, origin.citation)


CREDITS: Final[Mapping[str, Credit]] = {
    "digits": Credit(
        "https://archive.ics.uci.edu/dataset/80",
        "CC BY 4.0 (the copy in scikit-learn: BSD-3-Clause)",
        "Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI 1998",
    ),
    "sp-sw-har": Credit.of(sp_sw_har.ORIGIN),
    "sp-sw-har-by-place": Credit.of(sp_sw_har.ORIGIN),
    "mnist-by-writer": Credit.of(mnist_by_writer.ORIGIN),
    "fsdd": Credit.of(fsdd.ORIGIN),
    "fsdd-by-speaker": Credit.of(fsdd.ORIGIN),
    "skab": Credit.of(skab.ORIGIN),
    "citylearn-homes": Credit.of(citylearn_homes.ORIGIN),
    "uci-har": Credit.of(uci_har.ORIGIN),
}
"""By the name of the set in ``model_zoo.data.catalog``."""
