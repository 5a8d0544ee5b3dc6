"""The cards of the zoo's models, from what lies in their folders."""

import ast
from typing import Final

from model_zoo import zoo
from model_zoo.card import Subject, render
from model_zoo.data.credits import CREDITS
from model_zoo.measured import FILE, Measured
from model_zoo.own_folder import DEFINITION

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


def card_of(name: str) -> str:
    """Return the card of ``name``, as it is now."""
    subject = Subject(
        model=zoo.model(name),
        about=about(name),
        manifest=zoo.manifest(name),
        measured=measured(name),
        credit=CREDITS.get(zoo.model(name).data),
    )
    return render(subject)
