"""The label mix of every device as a picture; the one module here with matplotlib.

Up to ``FEW`` devices are rows with their names. More are columns too thin for a name,
sorted so that a trend can be seen. Colours are Paul Tol's muted scheme, which stays
apart for colour-blind people; beyond ten classes they run along cividis.
"""

import html
import importlib
import io
from collections.abc import Iterator, Sequence
from typing import Any, Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from model_zoo.data.describe import ClientMix, Description, most_unlike
from wire_protocol.errors import ConfigError

Picture = Literal["png", "svg"]
Axes: TypeAlias = Any
"""matplotlib's, which is not here to be imported when types are checked."""
Tint: TypeAlias = Any

FEW: Final = 60
MUTED: Final = (
    "#332288", "#88CCEE", "#44AA99", "#117733", "#999933",
    "#DDCC77", "#CC6677", "#882255", "#AA4499", "#BBBBBB",
)  # fmt: skip
_INK: Final = "#222222"
_PALE: Final = "#C9D3DC"
_BAR: Final = "#4477AA"


def picture(description: Description, *, kind: Picture) -> bytes:
    """Draw ``description``; the same one gives the same bytes.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    try:
        # Here and not above: matplotlib is an extra, and slow to import.
        matplotlib = importlib.import_module("matplotlib")
        figures = importlib.import_module("matplotlib.figure")
    except ImportError as error:
        raise ConfigError(
            "drawing needs matplotlib, which is not installed",
            remedy="pip install matplotlib, or leave --out away",
        ) from error
    few = len(description.clients) <= FEW
    settings = {
        "svg.hashsalt": "edgefed", "font.size": 9, "axes.edgecolor": _INK,
        "axes.spines.top": False, "axes.spines.right": False,
    }  # fmt: skip
    with matplotlib.rc_context(settings):
        size = (9.0, 2.0 + 0.24 * len(description.clients)) if few else (11.0, 6.0)
        figure = figures.Figure(figsize=size, layout="constrained")
        if not description.total.counts:
            _amounts(figure.subplots(), description, few=few)
        elif few:
            mixes, amounts = figure.subplots(
                1, 2, sharey=True, gridspec_kw={"width_ratios": (4, 1)}
            )
            _rows(mixes, amounts, description)
        else:
            mixes, amounts = figure.subplots(
                2, 1, sharex=True, gridspec_kw={"height_ratios": (3, 1)}
            )
            _columns(mixes, amounts, description)
        figure.suptitle(_title(description), fontsize=11, color=_INK)
        file = io.BytesIO()
        stamp = {"Date": None} if kind == "svg" else {"Software": None}
        figure.savefig(file, format=kind, dpi=150, metadata=stamp)
    return file.getvalue()


def page(description: Description, table: str) -> str:
    """Return an HTML page of its own with the picture and ``table`` below it."""
    drawing = picture(description, kind="svg").decode()
    drawing = drawing[drawing.index("<svg") :]
    title = html.escape(_title(description))
    return (
        f'<!doctype html>\n<html lang="en"><meta charset="utf-8">\n'
        f"<title>{title}</title>\n<style>body{{font:16px system-ui;margin:2em auto;"
        f"max-width:70em}}svg{{max-width:100%;height:auto}}pre{{overflow-x:auto}}"
        f"</style>\n<h1>{title}</h1>\n{drawing}\n<pre>{html.escape(table)}</pre>\n"
        "</html>\n"
    )


def colours(count: int) -> list[Tint]:
    """Return a colour for each of ``count`` classes."""
    if count <= len(MUTED):
        return list(MUTED[:count])
    cividis = importlib.import_module("matplotlib").colormaps["cividis"]
    return [cividis(place) for place in np.linspace(0, 1, count)]


def _title(description: Description) -> str:
    count = len(description.clients)
    return f"{description.data}, {description.partition}: {count} devices"


def _layers(
    description: Description, clients: Sequence[ClientMix]
) -> Iterator[tuple[str, NDArray[np.float64], Tint]]:
    """Each class with its share of every client, in per cent, and its colour."""
    counts = np.array([client.counts for client in clients], np.float64)
    shares = 100 * counts / np.maximum(counts.sum(1, keepdims=True), 1)
    tints = colours(len(description.classes))
    yield from zip(description.classes, shares.T, tints, strict=True)


def _rows(mixes: Axes, amounts: Axes, description: Description) -> None:
    """One row a device: its mix left, how many examples right; then all as one."""
    clients = description.clients
    places = np.arange(len(clients))
    names = [*(client.name for client in clients), "all"]
    ticks = np.append(places, len(clients) + 0.3)
    if description.classes:
        left = np.zeros(len(ticks))
        for name, share, tint in _layers(description, (*clients, description.total)):
            style = {"color": tint, "edgecolor": "white", "linewidth": 0.4}
            mixes.barh(ticks, share, 0.82, left=left, label=name, **style)
            left += share
        mixes.set_xlim(0, 100)
        mixes.set_xlabel(_SHARE_LABEL)
        _legend(mixes, description.classes)
    else:
        q = _quantiles((*clients, description.total))
        mixes.axvspan(*_middle(description), color=_PALE, alpha=0.5, lw=0)
        mixes.hlines(ticks, q[0], q[4], color=_BAR, lw=1.2)
        mixes.hlines(ticks, q[1], q[3], color=_BAR, lw=6)
        mixes.plot(q[2], ticks, "o", color="white", ms=3)
        mixes.set_xlabel(f"{_TARGET_LABEL}: {_QUANTILE_LABEL}")
    mixes.set_yticks(ticks, names)
    mixes.set_ylim(ticks[-1] + 0.6, -0.6)
    amounts.barh(places, [client.examples for client in clients], 0.82, color=_BAR)
    amounts.set_xlabel("examples")
    amounts.tick_params(axis="y", length=0)


def _columns(mixes: Axes, amounts: Axes, description: Description) -> None:
    """One column a device, sorted: its mix above, how many examples below."""
    places = np.arange(len(description.clients))
    if description.classes:
        clients = most_unlike(description.clients)[::-1]
        order = "devices, from those like the whole to the most unlike"
        bottom = np.zeros(len(clients))
        for name, share, tint in _layers(description, clients):
            mixes.bar(places, share, 1.0, bottom=bottom, color=tint, label=name)
            bottom += share
        mixes.set_ylim(0, 100)
        mixes.set_ylabel(_SHARE_LABEL)
        _legend(mixes, description.classes)
    else:
        clients = sorted(description.clients, key=lambda client: client.quantiles[2])
        order = f"devices, by median; {_QUANTILE_LABEL}"
        q = _quantiles(clients)
        mixes.axhspan(*_middle(description), color=_PALE, alpha=0.5, lw=0)
        mixes.vlines(places, q[0], q[4], color=_BAR, lw=0.5)
        mixes.vlines(places, q[1], q[3], color=_BAR, lw=1.5)
        mixes.plot(places, q[2], ".", color=_INK, ms=2)
        mixes.set_ylabel(_TARGET_LABEL)
    amounts.bar(places, [client.examples for client in clients], 1.0, color=_BAR)
    amounts.set_ylabel("examples")
    amounts.set_xlabel(order)
    amounts.set_xlim(-0.5, len(clients) - 0.5)


def _amounts(axes: Axes, description: Description, *, few: bool) -> None:
    """Only how many examples: there is no mix where there is nothing to predict."""
    places = np.arange(len(description.clients))
    counts = [client.examples for client in description.clients]
    if few:
        axes.barh(places, counts, 0.82, color=_BAR)
        axes.set_yticks(places, [client.name for client in description.clients])
        axes.set_ylim(places[-1] + 0.6, -0.6)
        axes.set_xlabel("normal examples")
    else:
        axes.bar(places, sorted(counts, reverse=True), 1.0, color=_BAR)
        axes.set_ylabel("normal examples")
        axes.set_xlabel("devices, by number of examples")
        axes.set_xlim(-0.5, places[-1] + 0.5)


_SHARE_LABEL: Final = "share of the device's examples, %"
_TARGET_LABEL: Final = "first target"
_QUANTILE_LABEL: Final = "5 to 95 % thin, 25 to 75 % thick, median; pale: of all"


def _quantiles(clients: Sequence[ClientMix]) -> NDArray[np.float64]:
    """Quantiles of the first target, ``[5, clients]``."""
    return np.array([client.quantiles for client in clients]).T


def _middle(description: Description) -> tuple[float, float]:
    return description.total.quantiles[1], description.total.quantiles[3]


def _legend(axes: Axes, classes: Sequence[str]) -> None:
    if len(classes) > 2 * len(MUTED):
        return
    handles, names = axes.get_legend_handles_labels()
    columns = min(len(names), max(1, 92 // (max(map(len, names)) + 5)))
    # matplotlib fills columns first; people read along the row.
    order = [
        place
        for column in range(columns)
        for place in range(column, len(names), columns)
    ]
    axes.legend(
        [handles[place] for place in order], [names[place] for place in order],
        loc="lower left", bbox_to_anchor=(0, 1), ncols=columns, frameon=False,
        handlelength=1, handleheight=1, columnspacing=1.2, borderaxespad=0.2,
    )  # fmt: skip
