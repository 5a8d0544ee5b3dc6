"""``edgefed zoo describe-data``: what every device of a federation would hold."""

import argparse
import json
import os
from pathlib import Path
from typing import Final

from model_zoo.data.describe import ClientMix, Description, described, most_unlike
from wire_protocol.errors import ConfigError

ROWS: Final = 60
_WIDE: Final = 12
_KINDS: Final = ("png", "svg", "html")


def add_commands(
    leaves: "argparse._SubParsersAction[argparse.ArgumentParser]",
) -> None:
    """Add the leaf to ``edgefed zoo``."""
    leaf = leaves.add_parser(
        "describe-data", help="show the label mix of every device of a federation"
    )
    leaf.add_argument("name", metavar="NAME", help="a data set, such as digits")
    leaf.add_argument(
        "--partition",
        help="natural, iid, dirichlet:ALPHA or shards:EACH (natural, or dirichlet:0.3)",
    )
    leaf.add_argument("--devices", type=int, help="how many (6, or natural clients)")
    leaf.add_argument("--seed", type=int, default=0, help="of the partition (0)")
    leaf.add_argument(
        "--unseen", action="store_true", help="leave people who only judge out"
    )
    leaf.add_argument(
        "--out", type=Path, metavar="FILE", help="draw it: .png, .svg or .html"
    )
    leaf.add_argument("--json", action="store_true", help="print JSON")
    leaf.set_defaults(run=_describe)


def _describe(args: argparse.Namespace) -> int:
    # Here and not above: not every command of the group needs the data sets.
    from model_zoo.data import catalog  # noqa: PLC0415
    from model_zoo.data.federation import federate  # noqa: PLC0415
    from model_zoo.data.skew import partition_named  # noqa: PLC0415

    kind = args.out.suffix.lower().lstrip(".") if args.out else None
    if kind is not None and kind not in _KINDS:
        raise ConfigError(
            f"--out {args.out} is no picture", remedy="end it in .png, .svg or .html"
        )
    dataset = catalog.load(args.name, seed=args.seed, environ=os.environ)
    unseen = args.unseen or not dataset.held_out.any()
    federation = federate(
        dataset,
        seed=args.seed,
        devices=args.devices,
        partition=partition_named(args.partition) if args.partition else None,
        unseen=unseen,
    )
    description = described(dataset, federation)
    if args.json:
        print(json.dumps(description.to_json(), indent=2))
    else:
        print(table(description))
    if args.out:
        _draw(description, args.out, kind=kind)
        if not args.json:
            print(f"\npicture: {args.out}")
    return 0


def _draw(description: Description, path: Path, *, kind: str | None) -> None:
    from model_zoo.data.mix_chart import page, picture  # noqa: PLC0415

    if kind == "html":
        drawn = page(description, table(description)).encode()
    else:
        drawn = picture(description, kind="svg" if kind == "svg" else "png")
    try:
        path.write_bytes(drawn)
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be written: {error.strerror}", remedy="name another --out"
        ) from error


def table(description: Description) -> str:
    """Return what a person reads: a row a device, then all of them together."""
    clients = description.clients
    shown = list(clients) if len(clients) <= ROWS else most_unlike(clients)[:ROWS]
    width = max(len(client.name) for client in (*shown, description.total)) + 2
    head = f"{'DEVICE':<{width}}{'EXAMPLES':>8}{'ENTROPY':>9}{'DISTANCE':>10}  "
    title = (
        f"{description.data}, {description.partition}: {len(clients)} devices hold "
        f"{description.total.examples} examples; {description.judging} others judge"
    )
    lines = [title, "", (head + _mix_head(description)).rstrip()]
    lines += [
        f"{client.name:<{width}}{client.examples:>8}{client.entropy_bits:>9.2f}"
        f"{client.distance:>10.2f}  {_mix(client, description)}".rstrip()
        for client in (*shown, description.total)
    ]
    if len(shown) < len(clients):
        lines.append(f"(the {len(shown)} most unlike of {len(clients)})")
    lines += ["", _legend(description)]
    return "\n".join(lines)


def _mix_head(description: Description) -> str:
    if description.total.quantiles:
        return "".join(
            f"{text:>9}" for text in ("5 %", "25 %", "MEDIAN", "75 %", "95 %")
        )
    if len(description.classes) > _WIDE:
        return "MOST OF"
    return "".join(f"{number:>4}" for number in range(len(description.classes)))


def _mix(client: ClientMix, description: Description) -> str:
    if client.quantiles:
        return "".join(f"{value:>9.3g}" for value in client.quantiles)
    shares = [round(100 * count / max(client.examples, 1)) for count in client.counts]
    if len(description.classes) > _WIDE:
        top = sorted(range(len(shares)), key=lambda place: -shares[place])[:3]
        return ", ".join(f"{description.classes[k]} {shares[k]} %" for k in top)
    return "".join(f"{share or '.':>4}" for share in shares)


def _legend(description: Description) -> str:
    figures = (
        "ENTROPY of the mix in bits; DISTANCE from the mix of all, 0 to 1 "
        "(total variation)"
    )
    if description.total.quantiles:
        return f"{figures}, by tenths of the first target; then its quantiles"
    if not description.classes:
        return "there is nothing to predict: devices hold normal examples only"
    if len(description.classes) > _WIDE:
        return figures
    names = ", ".join(f"{k} {name}" for k, name in enumerate(description.classes))
    if description.classes == tuple(map(str, range(len(description.classes)))):
        return f"{figures}; then per cent of each class"
    return f"{figures}; then per cent of each class:\n{names}"
