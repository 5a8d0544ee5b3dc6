"""The cards of the zoo's models, from what lies in their folders."""

import ast
from typing import Final

from model_zoo import zoo
from model_zoo.card import Subject, overview, render
from model_zoo.data.credits import CREDITS
from model_zoo.measured import FILE, Measured
from model_zoo.own_folder import DEFINITION
from model_zoo.quantize.record import NAME, Quantized

CARD: Final = "README.md"


def about(name: str) -> str:
    """Return what the definition of ``name`` says of it: its module's docstring."""
    path = zoo.model_folder(name) / DEFINITION
    return ast.get_docstring(ast.parse(path.read_bytes())) or ""


def measured(name: str) -> Measured:
    """Return what was measured of ``name``; nothing where nothing was recorded."""
    path = zoo.model_folder(name) / FILE
    if not path.is_file():
        return Measured()
    return Measured.from_json(path.read_bytes(), source=str(path))


def quantized(name: str) -> Quantized | None:
    """Return what the quantized artifacts of ``name`` lose, where it is recorded."""
    path = zoo.model_folder(name) / NAME
    return Quantized.from_json(path.read_bytes()) if path.is_file() else None


def card_of(name: str) -> str:
    """Return the card of ``name``, as it is now."""
    return render(subject_of(name))


def table() -> str:
    """Return the table of all models for ``docs/models.md``."""
    return overview([subject_of(name) for name in zoo.MODELS])


def subject_of(name: str) -> Subject:
    """Return all that there is to say of ``name``."""
    return Subject(
        model=zoo.model(name),
        about=about(name),
        manifest=zoo.manifest(name),
        measured=measured(name),
        quantized=quantized(name),
        credit=CREDITS.get(zoo.model(name).data),
    )
