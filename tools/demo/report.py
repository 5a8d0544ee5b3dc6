"""The page that shows what a demo found out: one file, nothing to fetch."""

from html import escape
from importlib.resources import files
from string import Template

from tools.demo.display import device_bytes
from tools.demo.figures import comparison, device_traffic, learning_curve
from tools.demo.outcome import FLOAT32_BITS, DemoOutcome


def report(outcome: DemoOutcome) -> str:
    """Return the HTML page."""
    page = Template(
        files("tools.demo").joinpath("report.html").read_text(encoding="utf-8")
    )
    plan = outcome.plan
    judges = (
        "examples of people who never trained" if plan.unseen else "held-out examples"
    )
    return page.substitute(
        title=escape(f"{plan.data} / {plan.model}"),
        lead=escape(
            f"{len(outcome.devices)} devices, {len(outcome.rounds)} rounds, "
            f"{outcome.parameters:,} parameters, judged on {outcome.test_examples:,} "
            f"{judges}; seed {plan.seed}."
        ),
        facts="".join(
            f"<div><b>{escape(value)}</b><span>{escape(label)}</span></div>"
            for label, value in _facts(outcome)
        ),
        metric=escape(outcome.metric.name),
        curve=learning_curve(outcome),
        comparison=(
            f"<h2>Federated, alone, central</h2>{comparison(outcome)}"
            if outcome.baselines
            else ""
        ),
        traffic=device_traffic(outcome),
        rounds="".join(_round_rows(outcome)),
        devices="".join(_device_rows(outcome)),
        settings="".join(
            f"<tr><td>{escape(name)}</td><td>{escape(str(value))}</td></tr>"
            for name, value in sorted(outcome.to_json().items())
            if not isinstance(value, list)
        ),
    )


def _facts(outcome: DemoOutcome) -> list[tuple[str, str]]:
    up, metric = outcome.uplink_bits_per_param, outcome.metric.name
    facts = [(f"{metric}, federated", f"{outcome.quality:.3f}")]
    if outcome.baselines:
        facts += [
            (f"{metric}, central", f"{outcome.baselines.central:.3f}"),
            (f"{metric}, alone (mean)", f"{outcome.baselines.local_mean:.3f}"),
        ]
    return [
        *facts,
        ("bits per parameter and update", f"{up:.2f}"),
        ("less than float32", f"{FLOAT32_BITS / up:.0f}x"),
    ]


def _round_rows(outcome: DemoOutcome) -> list[str]:
    return [
        _row(
            str(entry.round),
            f"{entry.quality:.3f}",
            f"{entry.loss:.3f}",
            str(len(entry.participants)),
            ", ".join(entry.runtimes),
            device_bytes(entry.bytes_up),
            device_bytes(entry.bytes_down),
            f"{entry.seconds:.2f}",
            f"{1000 * entry.overhead_seconds:.0f}",
        )
        for entry in outcome.rounds
    ]


def _device_rows(outcome: DemoOutcome) -> list[str]:
    return [
        _row(
            device.name,
            device.runtime,
            str(device.num_examples),
            str(device.rounds),
            device_bytes(device.bytes_sent),
            device_bytes(device.bytes_received),
            f"{device.rss_mib:.0f}",
            "" if device.local_quality is None else f"{device.local_quality:.3f}",
        )
        for device in outcome.devices
    ]


def _row(*cells: str) -> str:
    return "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"
