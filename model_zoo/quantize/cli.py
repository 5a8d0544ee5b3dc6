"""``edgefed zoo quantize``: inference artifacts of trained parameters."""

import argparse
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from model_zoo import zoo
from wire_protocol.errors import ConfigError

if TYPE_CHECKING:
    from model_zoo.quantize.record import File, Format, Quantized

_FORMATS: Final = ("tflite-int8", "tflite-f16", "onnx-int8")
_HELP: Final = "build int8 and float16 inference artifacts of trained parameters"


def add_command(
    leaves: "argparse._SubParsersAction[argparse.ArgumentParser]",
) -> None:
    """Add ``quantize``."""
    leaf = leaves.add_parser("quantize", help=_HELP)
    leaf.add_argument("name", metavar="NAME", help="a model of the zoo, or a folder")
    leaf.add_argument(
        "--params",
        type=Path,
        required=True,
        metavar="FILE",
        help="trained parameters: .npz of 'edgefed server export', or .f32",
    )
    leaf.add_argument(
        "--calibration",
        required=True,
        metavar="DATA",
        help="a data set, or an .npz file with x: examples devices train on",
    )
    leaf.add_argument(
        "--judge",
        metavar="DATA",
        help="a data set, or an .npz file with x and y: measures what is lost "
        "(default: the judging examples of a calibration data set)",
    )
    leaf.add_argument("--count", type=int, default=256, help="examples to calibrate on")
    leaf.add_argument("--seed", type=int, default=0, help="chooses the examples")
    leaf.add_argument(
        "--out", type=Path, metavar="DIR", help="where (default: NAME-quantized)"
    )
    leaf.add_argument(
        "--formats", default=",".join(_FORMATS), help="which of %(default)s"
    )
    leaf.add_argument("--json", action="store_true", help="print JSON")
    leaf.set_defaults(run=_quantize)


def _quantize(args: argparse.Namespace) -> int:
    from model_zoo.quantize.building import quantize  # noqa: PLC0415
    from model_zoo.quantize.examples import calibration, judging  # noqa: PLC0415
    from model_zoo.quantize.parameters import load_parameters  # noqa: PLC0415

    formats = _formats(args.formats)
    model = zoo.model(args.name)
    params = load_parameters(args.params, model.layout)
    x = calibration(
        model,
        args.calibration,
        count=args.count,
        seed=args.seed,
        environ=os.environ,
    )
    judge = args.judge
    if judge is None and not args.calibration.endswith(".npz"):
        judge = args.calibration
    folder = args.out or Path(f"{model.name}-quantized")
    try:
        record = quantize(
            model,
            params,
            calibration=x,
            judging=judge and judging(model, judge, seed=args.seed, environ=os.environ),
            folder=folder,
            formats=formats,
        )
    except OSError as error:
        raise ConfigError(
            f"cannot write {folder}: {error.strerror}", remedy="choose another --out"
        ) from error
    if args.json:
        print(json.dumps(json.loads(record.to_json()), indent=2))
    else:
        _show(record, folder)
    return 0


def _formats(text: str) -> "tuple[Format, ...]":
    names = tuple(dict.fromkeys(text.split(",")))
    unknown = [name for name in names if name not in _FORMATS]
    if unknown:
        raise ConfigError(
            f"--formats has {unknown[0]!r}", remedy=f"choose of {', '.join(_FORMATS)}"
        )
    return cast("tuple[Format, ...]", names)


def _show(record: "Quantized", folder: Path) -> None:
    from model_zoo.quantize.record import file_name  # noqa: PLC0415

    print(
        f"{record.model}: {record.calibration} examples to calibrate, "
        f"{record.judged} to judge"
    )
    for file in record.files:
        print(
            f"  {folder / file_name(file.format)}  {file.ref.size} bytes{_judged(file)}"
        )


def _judged(file: "File") -> str:
    found = file.judgement
    if found is None or found.value is None or found.loss is None:
        return ""
    text = f"  {found.metric} {found.value:.4f}"
    if file.format.endswith("f32"):
        return text
    text += f", lost {found.loss:+.4f}"
    if found.agreement is not None:
        text += f", agrees on {found.agreement:.2%}"
    return f"{text}, outputs within {found.max_error:.2g}"
