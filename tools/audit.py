"""Audit: which known vulnerabilities the installed packages have, by pip-audit.

    make audit                 # asks PyPI's advisories; needs the network

pip-audit ends with 0 and "no known vulnerabilities found" also where its service knows
none of the packages, as behind a mirror. So it is asked of a release as well that is
known to be vulnerable, and whoever is skipped is named. Ends with 0 if every package
was looked up and is clean, 1 if one is not, 4 if the service could not be asked.
"""

import argparse
import json
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from wire_protocol.errors import DecodeError, EdgefedError, TransportError
from wire_protocol.fields import Fields, json_object

CANARY: Final = "urllib3==1.24.1"
"""Has had advisories since 2019 (CVE-2019-11324)."""
OURS: Final = "edgefed"
MAX_PACKAGES: Final = 2000
TIMEOUT_S: Final = 600


@dataclass(frozen=True, slots=True)
class Report:
    """What pip-audit said.

    Attributes:
        clean: Packages without a known vulnerability, ``name version``.
        skipped: Packages that were not looked up, and why.
        vulnerable: Packages with advisories: ``name version: ids``.
    """

    clean: tuple[str, ...]
    skipped: tuple[str, ...]
    vulnerable: tuple[str, ...]

    @classmethod
    def from_json(cls, raw: bytes) -> "Report":
        """Read pip-audit's ``--format json``, or raise ``DecodeError``."""
        fields = Fields(json_object(raw, what="an audit"), owner="audit")
        clean, skipped, vulnerable = [], [], []
        for one in fields.groups("dependencies", most=MAX_PACKAGES):
            name = one.text("name")
            if one.has("skip_reason"):
                if name != OURS:
                    skipped.append(one.text("skip_reason", longest=1000))
                continue
            label = f"{name} {one.text('version')}"
            found = [vuln.text("id") for vuln in one.groups("vulns", most=1000)]
            if found:
                vulnerable.append(f"{label}: {', '.join(found)}")
            else:
                clean.append(label)
        return cls(tuple(clean), tuple(skipped), tuple(vulnerable))


def verdict(report: Report, canary: Report) -> tuple[int, str]:
    """Return exit code and what to say, given what is said of ``CANARY``.

    Raises:
        TransportError: The service does not know what it must know.
    """
    if not canary.vulnerable:
        raise TransportError(
            f"the advisories could not be asked: nothing is known against {CANARY}, "
            "which is vulnerable",
            remedy="run this where https://pypi.org/pypi answers, not a mirror of it",
        )
    if report.vulnerable:
        return 1, "\n".join(["vulnerable:", *report.vulnerable])
    if report.skipped:
        listed = "; ".join(report.skipped)
        raise TransportError(f"not every package could be looked up: {listed}")
    return 0, f"{len(report.clean)} packages, no known vulnerability"


def ask(tool: Path, *arguments: str) -> Report:
    """Have pip-audit look packages up.

    Raises:
        TransportError: It could not: there is no network, or no service.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "audit.json"
        words = ["--format", "json", "--output", str(out), "--progress-spinner", "off"]
        done = subprocess.run(
            [str(tool), *arguments, *words],
            check=False,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
        )
        if out.is_file():  # it ends with 1 both for findings and for failures
            return Report.from_json(out.read_bytes())
    last = (done.stderr.strip().splitlines() or ["it says nothing"])[-1]
    raise TransportError(
        f"the advisories could not be asked: {last:.300}",
        remedy="run this with a connection to the internet",
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Audit the packages of this environment."""
    parser = argparse.ArgumentParser(prog="audit", description=__doc__)
    parser.add_argument("--tool", type=Path, required=True, help="pip-audit")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args(argv)
    try:
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as wanted:
            wanted.write(CANARY + "\n")
            wanted.flush()
            plain = ("--requirement", wanted.name, "--no-deps", "--disable-pip")
            canary = ask(args.tool, *plain)
        installed = sysconfig.get_path("purelib")
        report = ask(args.tool, "--path", installed)
        code, text = verdict(report, canary)
    except (DecodeError, TransportError) as error:
        return _failed(error)
    plainly = {
        "clean": report.clean,
        "skipped": report.skipped,
        "vulnerable": report.vulnerable,
    }
    print(json.dumps(plainly, indent=2) if args.json else text)
    return code


def _failed(error: EdgefedError) -> int:
    sys.stderr.write(f"audit: {error}\n")
    return TransportError.exit_code


if __name__ == "__main__":
    sys.exit(main())
