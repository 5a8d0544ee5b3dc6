"""``edgefed zoo``: list, build and verify models, and say where an artifact is."""

import argparse
from pathlib import Path

from model_zoo import zoo
from model_zoo.data import cli as data_cli
from model_zoo.importing.cli import add_import
from model_zoo.quantize import cli as quantize
from model_zoo.scaffold.cli import add_new
from model_zoo.verification import cli as verification
from wire_protocol.atomic_file import write_atomically
from wire_protocol.errors import ConfigError


def add_commands(
    subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]",
) -> None:
    """Add ``zoo`` and its leaves."""
    group = subparsers.add_parser("zoo", help="models and their training artifacts")
    leaves = group.add_subparsers(required=True, metavar="COMMAND")

    leaf = leaves.add_parser("list", help="list the models")
    leaf.add_argument(
        "names", nargs="*", metavar="FOLDER", help="also these models of your own"
    )
    leaf.set_defaults(run=_list)

    leaf = leaves.add_parser(
        "build", help="build an artifact (needs tensorflow and onnx)"
    )
    leaf.add_argument("name", metavar="NAME")
    leaf.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="where to write it (default: in place of the one that ships)",
    )
    leaf.set_defaults(run=_build)

    verification.add_command(leaves)

    leaf = leaves.add_parser("card", help="show or write a model's card")
    which = leaf.add_mutually_exclusive_group(required=True)
    which.add_argument("name", nargs="?", metavar="NAME")
    which.add_argument("--all", action="store_true", help="every model's")
    which.add_argument(
        "--table", action="store_true", help="one table of all, for docs/models.md"
    )
    leaf.add_argument(
        "--write", action="store_true", help="into the model's folder, as README.md"
    )
    leaf.set_defaults(run=_card)
    quantize.add_command(leaves)

    leaf = leaves.add_parser("path", help="print the folder of an artifact")
    leaf.add_argument("name", metavar="NAME")
    leaf.set_defaults(run=_path)

    data_cli.add_commands(leaves)
    add_new(leaves)
    add_import(leaves)


def _list(args: argparse.Namespace) -> int:
    row = "{:<18}{:<18}{:<9}{:>7}{:>12}{:>13}{:>11}"
    print(
        row.format(
            "NAME",
            "DATA",
            "INPUT",
            "OUTPUTS",
            "PARAMETERS",
            "TFLITE BYTES",
            "ONNX BYTES",
        )
    )
    for name in (*zoo.MODELS, *args.names):
        model, manifest = zoo.model(name), zoo.manifest(name)
        sizes = [
            sum(ref.size for ref in manifest.family_files(family).values())
            for family in ("tflite", "onnx")
        ]
        shape = "x".join(map(str, model.input_shape))
        print(
            row.format(
                name, model.data, shape, model.outputs, model.layout.size, *sizes
            )
        )
    return 0


def _build(args: argparse.Namespace) -> int:
    from model_zoo.building import build  # noqa: PLC0415

    model = zoo.model(args.name)
    folder = args.out or zoo.shipped_folder(args.name)
    try:
        manifest = build(model, folder, initial=zoo.initial(args.name))
    except OSError as error:
        raise ConfigError(
            f"cannot write {folder}: {error.strerror}", remedy="choose another --out"
        ) from error
    for name, ref in sorted(manifest.files.items()):
        print(f"{folder / name}  {ref.size} bytes")
    print(folder / "manifest.json")
    return 0


def _card(args: argparse.Namespace) -> int:
    from model_zoo.cards import CARD, card_of, table  # noqa: PLC0415

    if args.table:
        print(table())
        return 0
    for name in list(zoo.MODELS) if args.all else [args.name]:
        card, path = card_of(name), zoo.model_folder(name) / CARD
        if not args.write:
            print(card, end="")
            continue
        try:
            write_atomically(path, card.encode())
        except OSError as error:
            raise ConfigError(f"cannot write {path}: {error.strerror}") from error
        print(path)
    return 0


def _path(args: argparse.Namespace) -> int:
    print(zoo.artifact_folder(args.name))
    return 0
