"""Bills of materials: what an installation consists of, as CycloneDX JSON.

    make sbom                              # of the bare agent, and of the demo
    make sbom ARGS='--extra litert'

Each extra is installed into an environment of its own, without pip, and described by
cyclonedx-py: unlike pip-audit's, its lists have licences and who needs whom. They are
written to ``dist/sbom-<extra>.json``; the same packages give the same bytes.
"""

import argparse
import subprocess
import sys
import tempfile
import venv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from wire_protocol.errors import DecodeError, EdgefedError, TransportError
from wire_protocol.fields import Fields, json_object

ROOT: Final = Path(__file__).parents[1]
BARE: Final = "agent"
EXTRAS: Final = (BARE, "litert", "tflite", "onnx", "broker", "data", "zoo", "demo")
"""What can be described; the first is an installation without extras."""
DEFAULT: Final = (BARE, "demo")
MAX_COMPONENTS: Final = 2000


@dataclass(frozen=True, slots=True)
class Component:
    """One package of a bill: its name, version, and licence, if it says one."""

    name: str
    version: str
    licence: str


def components(raw: bytes) -> tuple[Component, ...]:
    """Return the packages of a bill, by name.

    Raises:
        DecodeError: It is none, lists a package without version or address, or does
            not list edgefed as what it is of.
    """
    fields = Fields(json_object(raw, what="a bill of materials"), owner="sbom")
    if fields.text("bomFormat") != "CycloneDX":
        raise DecodeError("a bill of materials is of the format CycloneDX")
    if fields.group("metadata").group("component").text("name") != "edgefed":
        raise DecodeError("the bill of materials is not of edgefed")
    found = []
    for one in fields.groups("components", most=MAX_COMPONENTS):
        if not one.text("purl", longest=1000).startswith("pkg:pypi/"):
            raise DecodeError(f"{one.text('name')} is no package of PyPI")
        found.append(Component(one.text("name"), one.text("version"), _licence(one)))
    return tuple(sorted(found, key=lambda one: one.name.lower()))


def _licence(fields: Fields) -> str:
    if not fields.has("licenses"):
        return ""
    for one in fields.groups("licenses", most=100):
        if one.has("expression"):
            return one.text("expression", longest=10_000)
        said = one.group("license")
        for key in ("id", "name"):
            if said.has(key):
                return said.text(key, longest=10_000)
    return ""


def describe(extra: str, *, tool: Path, out: Path) -> tuple[Component, ...]:
    """Install an extra, write its bill to ``out``, and return what it lists.

    Raises:
        TransportError: It could not be installed or described.
        DecodeError: The bill lacks something.
    """
    wanted = str(ROOT) if extra == BARE else f"{ROOT}[{extra}]"
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=False)
        python = str(Path(folder) / "bin/python")
        quiet = ("--disable-pip-version-check", "--quiet")
        pip = [sys.executable, "-m", "pip", "--python", python, *quiet]
        _run([*pip, "install", wanted], what=f"{extra} cannot be installed")
        words = ["--output-format", "JSON", "--output-file", str(out)]
        pyproject = ["--pyproject", str(ROOT / "pyproject.toml")]
        reproducible = [*words, *pyproject, "--output-reproducible", python]
        _run([str(tool), "environment", *reproducible], what="no bill was written")
    return components(out.read_bytes())


def _run(command: Sequence[str], *, what: str) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it says nothing"])[-1]
        raise TransportError(f"{what}: {last:.300}")


def main(argv: Sequence[str] | None = None) -> int:
    """Write the bills that were asked for."""
    parser = argparse.ArgumentParser(prog="sbom", description=__doc__)
    parser.add_argument("--tool", type=Path, required=True, help="cyclonedx-py")
    parser.add_argument("--extra", action="append", choices=EXTRAS)
    parser.add_argument("--out", type=Path, default=ROOT / "dist")
    args = parser.parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    try:
        for extra in args.extra or DEFAULT:
            out = args.out / f"sbom-{extra}.json"
            found = describe(extra, tool=args.tool, out=out)
            silent = [one.name for one in found if not one.licence]
            print(f"{out}: {len(found)} packages", end="")
            print(f"; no licence said by {', '.join(silent)}" if silent else "")
    except EdgefedError as error:
        sys.stderr.write(f"sbom: {error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
