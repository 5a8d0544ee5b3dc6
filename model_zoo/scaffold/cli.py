"""``edgefed zoo new``: begin a model of one's own."""

import argparse
from pathlib import Path
from typing import Final

KINDS: Final = ("csv", "npz", "wav", "python")


def add_new(
    leaves: "argparse._SubParsersAction[argparse.ArgumentParser]",
) -> None:
    """Add ``new``."""
    leaf = leaves.add_parser(
        "new",
        help="begin a model of your own",
        description="Write a folder with a model and a reader of your data that build "
        "and train as they are; docs/extend.md goes on from there.",
    )
    leaf.add_argument("name", metavar="NAME", help="such as washing-machine")
    leaf.add_argument(
        "--data", choices=KINDS, default="csv", help="what examples are read from (csv)"
    )
    leaf.add_argument("--out", type=Path, metavar="FOLDER", help="where (./NAME)")
    leaf.add_argument(
        "--empty", action="store_true", help="leave out the made-up data to begin with"
    )
    leaf.set_defaults(run=_new)


def _new(args: argparse.Namespace) -> int:
    from model_zoo.scaffold.writing import write_new  # noqa: PLC0415

    folder = args.out or Path(args.name)
    write_new(folder, name=args.name, data=args.data, samples=not args.empty)
    for path in sorted(folder.iterdir()):
        print(f"{path}{'/' if path.is_dir() else ''}")
    print(f"next: edgefed zoo build {_written(folder)}")
    return 0


def _written(folder: Path) -> str:
    """Write a relative folder so that it is taken for no name of the zoo."""
    return str(folder) if folder.is_absolute() else f"./{folder}"
