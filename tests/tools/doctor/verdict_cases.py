"""Cases of judgement: what is found, how grave it is, and what is to be done."""

from dataclasses import dataclass

from tools.doctor.findings import Finding


@dataclass(frozen=True, slots=True)
class Case:
    """A finding, and what it has to be."""

    name: str
    finding: Finding
    verdict: str
    found: str
    remedy: str = ""

    def __str__(self) -> str:
        return self.name

    def hold(self) -> None:
        """Assert that the finding is what it has to be."""
        assert self.finding.verdict == self.verdict, self.finding
        assert self.found in self.finding.found, self.finding
        assert self.remedy in self.finding.remedy, self.finding
        if self.verdict == "ok":
            assert not self.finding.remedy
