"""The maker of examples: rows and labels in, examples out, and why others are none.

This module is pure.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from edge_agent.data_settings import DataSettings
from edge_agent.segments import Form
from edge_agent.sources.labels import teacher
from edge_agent.sources.windows import Label, Windows
from wire_protocol.errors import ConfigError, DecodeError
from wire_protocol.params import Vector
from wire_protocol.selftest import Targets


@dataclass(frozen=True, slots=True)
class Example:
    """One example: ``x`` as its form says, and its target."""

    x: Vector
    y: Targets


class Maker:
    """Makes examples of rows of ``channels``, as ``[data]`` says.

    Raises:
        ConfigError: The labels cannot be made from these channels.
    """

    def __init__(self, settings: DataSettings, *, channels: Sequence[str]) -> None:
        window, labels = settings.window, settings.labels
        self._flat = window.length == 0
        self._width = len(channels)
        # numbers to learn come in rows too, behind the channels
        beside = labels.columns if labels.by == "numbers" else ()
        self._teach = teacher(labels, channels=channels)
        self._windows = Windows(
            channels=len(channels) + len(beside),
            length=window.rows,
            hop=window.step,
            ahead=labels.steps if labels.by == "ahead" else 0,
        )
        self.form = _form(settings, channels)

    def push(
        self, row: Sequence[float] | None, label: Label = None
    ) -> Example | str | None:
        """Take a row, or a gap; return the example it completes, or why that is none.

        With labels by "numbers", a row has the channels and then those.
        """
        window = self._windows.push(row, label)
        if window is None:
            return None
        y = self._teach(window)
        if isinstance(y, str):
            return y
        x = window.rows[: len(window.labels), : self._width]
        return Example(x[0] if self._flat else x, y)


def _form(settings: DataSettings, channels: Sequence[str]) -> Form:
    window, labels = settings.window, settings.labels
    shape: tuple[int, ...] = (len(channels),)
    if window.length:
        shape = (window.length, *shape)
    source = getattr(settings, settings.source)
    text = f"{source} {window} {labels}"
    recipe = hashlib.sha256(text.encode()).hexdigest()[:16]
    try:
        match labels.by:
            case "none":
                return Form(shape, "none", 0, recipe)
            case "numbers" | "ahead":
                return Form(shape, "numbers", len(labels.columns), recipe)
            case _:
                return Form(shape, "classes", 1, recipe)
    except DecodeError as error:
        raise ConfigError(error.problem, remedy="use shorter windows") from error
