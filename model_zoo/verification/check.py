"""A finding of a verification. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Check:
    """One finding: it passes when ``value`` is at most ``limit``.

    One that could not be ``checked`` passes unless its limit says otherwise; ``detail``
    says why.
    """

    what: str
    value: float
    limit: float
    detail: str = ""
    checked: bool = True

    @property
    def passed(self) -> bool:
        """Whether the finding is within its limit; NaN is not."""
        return self.value <= self.limit
