"""The live picture of a federation in a terminal; one line a round elsewhere."""

from collections.abc import Callable, Sequence
from typing import Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from model_zoo.metrics import METRICS, Metric
from tools.demo.fleet_state import DeviceState, FleetState
from tools.demo.outcome import FLOAT32_BITS, DemoOutcome, RoundOutcome
from tools.demo.plan import DemoPlan

_BARS = "▁▂▃▄▅▆▇█"
_COLOURS = {"fetching": "cyan", "training": "yellow", "reporting": "green"}
_MOST_ROWS = 24


class Display(Protocol):
    """Who shows what happens, between ``begin`` and ``end``."""

    def begin(self) -> None:
        """Start showing."""

    def end(self) -> None:
        """Stop showing; what was shown stays."""

    def say(self, text: str) -> None:
        """Tell what is being done now."""

    def show(self, fleet: FleetState) -> None:
        """Show the fleet as it is now."""

    def judged(self, outcome: RoundOutcome) -> None:
        """Show a finished round."""


class LiveDisplay:
    """A table drawn again in place, four times a second at most."""

    def __init__(
        self, plan: DemoPlan, console: Console, *, parameters: int, metric: Metric
    ) -> None:
        self._plan = plan
        self._metric = metric
        self._parameters = parameters
        self._fleet = FleetState()
        self._rounds: list[RoundOutcome] = []
        self._doing = "starting"
        self._live = Live(console=console, get_renderable=self._draw, transient=False)

    def begin(self) -> None:
        """Take the screen."""
        self._live.start()

    def end(self) -> None:
        """Give it back."""
        self._live.stop()

    def say(self, text: str) -> None:
        """Show ``text`` in the last line."""
        self._doing = text

    def show(self, fleet: FleetState) -> None:
        """Draw ``fleet`` at the next redraw."""
        self._fleet = fleet

    def judged(self, outcome: RoundOutcome) -> None:
        """Add a point to the learning curve."""
        self._rounds.append(outcome)

    def _draw(self) -> Group:
        server = self._fleet.server
        qualities = [entry.quality for entry in self._rounds]
        head = Text.assemble(
            (f"{self._plan.data} / {self._plan.model}", "bold"),
            f"   round {server.round} of {self._plan.rounds}"
            f"   {server.phase} {len(server.received)}/{len(server.cohort)}",
            f"   {self._metric.name} ",
            (f"{qualities[-1]:.3f} " if qualities else "- ", "bold green"),
            (sparkline(qualities[-40:], most=self._metric.most), "green"),
        )
        return Group(head, self._devices(), Text(self._traffic()), Text(self._doing))

    def _devices(self) -> Table:
        table = Table(box=None, pad_edge=False, header_style="dim")
        for title in ("device", "runtime"):
            table.add_column(title)
        table.add_column("examples", justify="right")
        table.add_column("phase", width=10)
        for title in ("round", "sent", "received"):
            table.add_column(title, justify="right")
        devices = sorted(self._fleet.devices.items())
        for name, device in devices[:_MOST_ROWS]:
            table.add_row(*_row(name, device), device_bytes(device.bytes_received))
        if len(devices) > _MOST_ROWS:
            table.add_row(f"... and {len(devices) - _MOST_ROWS} more")
        return table

    def _traffic(self) -> str:
        parts = sum(len(entry.participants) for entry in self._rounds)
        if not parts:
            return ""
        up = sum(entry.bytes_up for entry in self._rounds)
        bits = 8 * up / (parts * self._parameters)
        return (
            f"updates {device_bytes(up)}, {bits:.2f} bits per parameter, "
            f"{FLOAT32_BITS / bits:.0f}x less than float32"
        )


class PlainDisplay:
    """Lines, for a log or a pipe."""

    def __init__(
        self,
        write: Callable[[str], object],
        *,
        metric: Metric = METRICS["classification"],
    ) -> None:
        self._write = write
        self._metric = metric

    def begin(self) -> None:
        """Nothing to prepare."""

    def end(self) -> None:
        """Nothing to give back."""

    def say(self, text: str) -> None:
        """Write ``text``."""
        self._write(text)

    def show(self, fleet: FleetState) -> None:
        """Nothing: a log has a line a round."""

    def judged(self, outcome: RoundOutcome) -> None:
        """Write the round's line."""
        self._write(
            f"round {outcome.round:3}  {self._metric.name} {outcome.quality:.3f}  "
            f"loss {outcome.loss:.3f}  {len(outcome.participants)} devices "
            f"({', '.join(outcome.runtimes)})  up {device_bytes(outcome.bytes_up)}  "
            f"down {device_bytes(outcome.bytes_down)}  {outcome.seconds:.2f} s "
            f"(overhead {1000 * outcome.overhead_seconds:.0f} ms)"
        )


def summary(outcome: DemoOutcome) -> Table:
    """Return the table shown at the end."""
    table = Table(title="Result", show_header=False, title_justify="left")
    table.add_column(style="bold")
    table.add_column(justify="right")
    where = "unseen people" if outcome.plan.unseen else "held-out examples"
    metric = outcome.metric.name
    table.add_row(f"{metric}, federated ({where})", f"{outcome.quality:.3f}")
    if outcome.baselines:
        table.add_row(
            f"{metric}, trained centrally", f"{outcome.baselines.central:.3f}"
        )
        table.add_row(
            f"{metric}, devices alone (mean)", f"{outcome.baselines.local_mean:.3f}"
        )
    table.add_row("rounds", str(len(outcome.rounds)))
    up = outcome.uplink_bits_per_param
    table.add_row(
        "update, bits per parameter", f"{up:.2f} ({FLOAT32_BITS / up:.0f}x under f32)"
    )
    table.add_row(
        "all a device sends, bits per parameter and round",
        f"{outcome.sent_bits_per_param:.2f}",
    )
    table.add_row(
        "all a device receives, bits per parameter and round",
        f"{outcome.received_bits_per_param:.2f}",
    )
    table.add_row("seconds, the federation alone", f"{outcome.seconds:.0f}")
    return table


def sparkline(values: Sequence[float], *, most: float | None = 1.0) -> str:
    """Draw values from 0 to ``most`` as bars; None: to the greatest of them."""
    top = len(_BARS) - 1
    full = most or max(values, default=0.0) or 1.0
    heights = [int(value / full * len(_BARS)) for value in values]
    return "".join(_BARS[min(top, max(0, height))] for height in heights)


def device_bytes(count: int) -> str:
    """Return a byte count people can read.

    >>> device_bytes(123), device_bytes(4567), device_bytes(8_901_234)
    ('123 B', '4.6 kB', '8.9 MB')
    """
    if count < 1000:
        return f"{count} B"
    if count < 1_000_000:
        return f"{count / 1000:.1f} kB"
    return f"{count / 1_000_000:.1f} MB"


def _row(name: str, device: DeviceState) -> tuple[str | Text, ...]:
    return (
        name,
        device.runtime,
        str(device.num_examples or ""),
        Text(device.phase, style=_COLOURS.get(device.phase, "dim")),
        str(device.round or ""),
        device_bytes(device.bytes_sent),
    )
