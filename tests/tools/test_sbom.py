"""A bill of materials lists packages with version, address and licence."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tools.sbom import EXTRAS, Component, components
from wire_protocol.errors import DecodeError

NUMPY = {
    "name": "numpy",
    "version": "2.1",
    "purl": "pkg:pypi/numpy@2.1",
    "licenses": [{"license": {"id": "BSD-3-Clause"}}],
}
PAHO = {
    "name": "paho-mqtt",
    "version": "2.1",
    "purl": "pkg:pypi/paho-mqtt@2.1",
    "licenses": [{"expression": "EPL-2.0 OR BSD-3-Clause"}],
}
SILENT = {"name": "A", "version": "1", "purl": "pkg:pypi/a@1"}


def bill(*found: object, **changes: Any) -> bytes:
    plain = {
        "bomFormat": "CycloneDX",
        "metadata": {"component": {"name": "edgefed"}},
        "components": found,
        **changes,
    }
    return json.dumps(plain).encode()


def test_packages_are_listed_with_their_licences() -> None:
    assert components(bill(PAHO, NUMPY, SILENT)) == (
        Component("A", "1", ""),
        Component("numpy", "2.1", "BSD-3-Clause"),
        Component("paho-mqtt", "2.1", "EPL-2.0 OR BSD-3-Clause"),
    )


WRONG = {
    "another format": bill(bomFormat="SPDX"),
    "of another project": bill(metadata={"component": {"name": "flwr"}}),
    "a package without a version": bill({"name": "a", "purl": "pkg:pypi/a"}),
    "a package from elsewhere": bill({**NUMPY, "purl": "pkg:generic/numpy"}),
    "no JSON": b"<bom/>",
}


@pytest.mark.parametrize("raw", WRONG.values(), ids=list(WRONG))
def test_a_bill_that_lacks_something_is_none(raw: bytes) -> None:
    with pytest.raises(DecodeError):
        components(raw)


def test_every_extra_of_the_project_can_be_described() -> None:
    project = Path(__file__).parents[2] / "pyproject.toml"
    extras = tomllib.loads(project.read_text())["project"]["optional-dependencies"]
    assert set(EXTRAS) == {"agent", *extras} - {"dev"}
