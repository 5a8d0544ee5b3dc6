"""``edgefed zoo import``: go on training a network that Keras or ONNX has."""

import argparse
import re
from pathlib import Path
from typing import Final

_ENDINGS: Final = {
    "linear": "nothing ends it",
    "softmax": "the softmax at its end is part of the loss now",
    "log_softmax": "the log-softmax at its end is part of the loss now",
    "sigmoid": "the sigmoid at its end is part of the loss now",
}


def add_import(
    leaves: "argparse._SubParsersAction[argparse.ArgumentParser]",
) -> None:
    """Add ``import``."""
    leaf = leaves.add_parser(
        "import",
        help="make a trained .keras or .onnx network trainable here",
        description="Write a folder with the network's definition, its weights and a "
        "built artifact, and compare its outputs with the file's own. Layers that "
        "have no counterpart are listed. docs/extend.md names those that have.",
    )
    leaf.add_argument("file", type=Path, metavar="FILE", help="a .keras or .onnx file")
    leaf.add_argument("--out", type=Path, metavar="FOLDER", help="where (./NAME)")
    leaf.add_argument("--name", help="of the model (the file's name)")
    leaf.add_argument(
        "--train",
        choices=("all", "head"),
        default="all",
        help="head: only the last dense layer, the others stay as they are (all)",
    )
    leaf.add_argument(
        "--task",
        choices=("classification", "regression", "binary", "reconstruction"),
        help="what it is for, where its end does not say",
    )
    leaf.set_defaults(run=_import)


def _import(args: argparse.Namespace) -> int:
    from model_zoo.importing.conversion import convert  # noqa: PLC0415

    name = args.name or re.sub(r"[^a-z0-9]+", "-", args.file.stem.lower()).strip("-")
    folder = args.out or Path(name or "model")
    done = convert(
        args.file,
        folder=folder,
        name=name,
        task=args.task,
        head=args.train == "head",
    )
    model = done.model
    specs = model.layout.specs
    learned = sum(spec.size for spec in specs if spec.trainable)
    shape = "x".join(map(str, model.input_shape))
    print(
        f"{name}: {len(model.layers)} layers, {model.layout.size} parameters, of which "
        f"{learned} are trained; input {shape}, channels last"
    )
    print(f"task: {model.task}; {_ENDINGS[done.ending]}")
    for runtime, difference in done.differences.items():
        print(
            f"outputs on {runtime} differ from the file's by {difference:.2g} at most, "
            f"in {done.examples} random examples"
        )
    place = folder if folder.is_absolute() else f"./{folder}"
    print(f"next: edgefed zoo verify {place}")
    return 0
