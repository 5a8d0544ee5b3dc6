"""The pictures of a report, as SVG text. Only user of matplotlib."""

import io
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tools.demo.outcome import DemoOutcome

_INK = "#334155"
_FEDERATED = "#0f766e"
_CENTRAL = "#9a3412"
_ALONE = "#94a3b8"
_UP = "#0f766e"
_DOWN = "#7dd3c8"


def learning_curve(outcome: DemoOutcome) -> str:
    """Draw quality over rounds, with the two things it is compared with."""
    figure, axes = _figure(7.2, 3.4)
    rounds = [entry.round for entry in outcome.rounds]
    qualities = [entry.quality for entry in outcome.rounds]
    axes.plot(
        rounds, qualities, "-o", color=_FEDERATED, markersize=4, label="federated"
    )
    axes.annotate(
        f"{qualities[-1]:.3f}",
        (rounds[-1], qualities[-1]),
        textcoords="offset points",
        xytext=(6, -3),
        color=_FEDERATED,
    )
    if outcome.baselines:
        lines = (
            ("trained centrally", outcome.baselines.central, _CENTRAL, "--"),
            ("devices alone, mean", outcome.baselines.local_mean, _ALONE, ":"),
        )
        for label, value, colour, style in lines:
            axes.axhline(
                value, color=colour, linestyle=style, label=f"{label} {value:.3f}"
            )
    axes.set_xlabel("round")
    axes.set_ylabel(outcome.metric.name)
    axes.set_ylim(0, 1.02 * _greatest(outcome))
    axes.set_xlim(0.5, rounds[-1] + max(1.0, 0.06 * len(rounds)))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    corner = "lower right" if outcome.metric.better == "higher" else "upper right"
    axes.legend(loc=corner, frameon=False)
    return _svg(figure)


def device_traffic(outcome: DemoOutcome) -> str:
    """Draw what every device sent and received over its socket."""
    names = [device.name for device in outcome.devices]
    figure, axes = _figure(7.2, 0.9 + 0.28 * len(names))
    places = range(len(names))
    sent = [device.bytes_sent / 1000 for device in outcome.devices]
    received = [device.bytes_received / 1000 for device in outcome.devices]
    axes.barh([p - 0.19 for p in places], sent, 0.36, color=_UP, label="sent")
    axes.barh([p + 0.19 for p in places], received, 0.36, color=_DOWN, label="received")
    axes.set_yticks(list(places), names)
    axes.invert_yaxis()
    axes.set_xlabel("kB over the whole run, all MQTT and TCP payload")
    axes.legend(frameon=False)
    return _svg(figure)


def comparison(outcome: DemoOutcome) -> str:
    """Draw federated beside alone and central; every device alone is a tick."""
    assert outcome.baselines is not None
    bars: Sequence[tuple[str, float, str]] = (
        ("devices alone", outcome.baselines.local_mean, _ALONE),
        ("federated", outcome.quality, _FEDERATED),
        ("central", outcome.baselines.central, _CENTRAL),
    )
    figure, axes = _figure(7.2, 2.0)
    places = range(len(bars))
    axes.barh(
        list(places), [bar[1] for bar in bars], 0.55, color=[bar[2] for bar in bars]
    )
    axes.set_yticks(list(places), [bar[0] for bar in bars])
    axes.plot(
        outcome.baselines.local,
        [0] * len(outcome.baselines.local),
        "|",
        color=_INK,
        markersize=11,
    )
    greatest = _greatest(outcome)
    for place, (_, value, _) in zip(places, bars, strict=True):
        axes.text(1.02 * greatest, place, f"{value:.3f}", va="center", color=_INK)
    axes.set_xlim(0, 1.1 * greatest)
    axes.set_xticks([greatest * step / 5 for step in range(6)])
    axes.set_xlabel(f"{outcome.metric.name} on the same examples")
    axes.invert_yaxis()
    return _svg(figure)


def _greatest(outcome: DemoOutcome) -> float:
    """Return the end of the axis of qualities."""
    if outcome.metric.most is not None:
        return outcome.metric.most
    values = [entry.quality for entry in outcome.rounds]
    if outcome.baselines:
        values += [outcome.baselines.central, *outcome.baselines.local]
    return max(values) or 1.0


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(_INK)
    axes.tick_params(colors=_INK)
    return figure, axes


def _svg(figure: Figure) -> str:
    buffer = io.StringIO()
    # no date, so that the same run draws the same bytes
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]
