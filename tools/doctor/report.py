"""The report as people read it: a line for each check, and under it what to do."""

import textwrap
from typing import IO, Final

from tools.doctor.findings import Entry, Finding, Verdict

_NAME_WIDTH: Final = 16
_VERDICT_WIDTH: Final = 14
_CLEAR_LINE: Final = "\r\x1b[K"
_COLOURS: Final = {
    Verdict.OK: "32",
    Verdict.WARNING: "33",
    Verdict.FAILED: "31",
    Verdict.NOT_MEASURED: "90",
}


class Report:
    """Prints entries to ``out`` as they come; on a terminal also what is under way."""

    def __init__(self, out: IO[str], *, width: int = 100) -> None:
        self._out = out
        self._live = out.isatty()
        self._width = width

    def begun(self, check: str) -> None:
        """Say that ``check`` is under way."""
        if self._live:
            self._out.write(f"{_CLEAR_LINE}... {check}")
            self._out.flush()

    def tell(self, entry: Entry) -> None:
        """Print what a check found."""
        clear = _CLEAR_LINE if self._live else ""
        self._out.write(clear + self._painted(entry) + "\n")
        self._out.flush()

    def end(self, findings: list[Finding]) -> None:
        """Print how many of each verdict there were."""
        verdicts = [one.verdict for one in findings]
        counts = ", ".join(f"{verdicts.count(kind)} {kind}" for kind in Verdict)
        self._out.write(f"\n{counts}\n")

    def _painted(self, entry: Entry) -> str:
        text = rendered(entry, width=self._width)
        if not self._live:
            return text
        verdict = entry.finding.verdict
        return text.replace(
            str(verdict), f"\x1b[{_COLOURS[verdict]}m{verdict}\x1b[0m", 1
        )


def rendered(entry: Entry, *, width: int) -> str:
    """Return an entry as lines of ``width``, without the last line's end."""
    finding = entry.finding
    head = f"{finding.verdict:<{_VERDICT_WIDTH}}{entry.check:<{_NAME_WIDTH}}"
    body = textwrap.wrap(
        finding.found,
        max(20, width - len(head)),
        break_long_words=False,
        break_on_hyphens=False,
    )
    lines = [head + (body[0] if body else "")]
    lines += [" " * len(head) + line for line in body[1:]]
    if finding.remedy:
        # a command that is broken into lines cannot be copied
        lines.append(" " * len(head) + "-> " + finding.remedy)
    return "\n".join(lines)
