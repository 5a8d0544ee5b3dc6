"""Recording: measurements into the models' folders, where cards find them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from statistics import median
from typing import Final

from model_zoo import zoo
from model_zoo.measured import FILE, Measured, Quality
from model_zoo.quantize.examples import calibration, judging
from model_zoo.quantize.parameters import load_parameters
from model_zoo.quantize.record import NAME, Quantized
from tools.quality.cells import Cell
from tools.quality.memory import measure_memory
from tools.quality.results import Results
from tools.quality.summary import Summary
from wire_protocol.atomic_file import write_atomically
from wire_protocol.errors import ConfigError

_CALIBRATION: Final = 256


def record(
    summaries: Sequence[Summary], results: Results, *, environ: Mapping[str, str]
) -> Iterator[Path]:
    """Write what was measured of every model in ``summaries``; yield the files' paths.

    Experiments that are not complete, or not among them, stay as they were recorded.
    The model that the first experiment's first seed ended with is quantized.

    Raises:
        ConfigError: A file cannot be written, or an earlier one is damaged.
        TrainingError: A runtime failed while its memory was measured.
    """
    for model, of_model in groupby(summaries, key=lambda summary: summary.model):
        complete = [one for one in of_model if one.complete]
        path = zoo.model_folder(model) / FILE
        found = {one.experiment: quality_of(one) for one in complete}
        yield _written(path, updated(_before(path), found, model=model).to_json())
        if complete:
            quantized = _quantized(complete[0], results, environ=environ)
            yield _written(zoo.model_folder(model) / NAME, quantized.to_json())


def quality_of(summary: Summary) -> Quality:
    """Return what a complete ``summary`` says, rounded to what it can tell."""
    federated, alone = summary.outcomes["federated"], summary.outcomes["local"]
    federated_, central, local = (
        tuple(round(value, 5) for value in summary.qualities(kind))
        for kind in ("federated", "central", "local")
    )
    return Quality(
        recipe=summary.recipe,
        federated=federated_,
        central=central,
        local=local,
        bits_up=round(median(outcome.bits_up for outcome in federated), 2),
        devices=federated[0].devices,
        local_devices=len(alone[0].alone),
        training_examples=federated[0].training_examples,
        test_examples=federated[0].test_examples,
    )


def updated(before: Measured, found: Mapping[str, Quality], *, model: str) -> Measured:
    """Return ``before`` with qualities put in, and the memory measured anew."""
    return replace(
        before,
        quality={**before.quality, **found},
        memory=measure_memory(zoo.artifact_folder(model)),
    )


def _quantized(
    summary: Summary, results: Results, *, environ: Mapping[str, str]
) -> Quantized:
    """Return what the quantized artifacts of the trained model lose."""
    # Here and not above: it needs TensorFlow and onnx.
    from model_zoo.quantize.building import quantize  # noqa: PLC0415

    model, data = zoo.model(summary.model), summary.recipe.data
    path = results.params(Cell(summary.model, summary.experiment, 0, "federated"))
    return quantize(
        model,
        load_parameters(path, model.layout),
        calibration=calibration(
            model, data, count=_CALIBRATION, seed=0, environ=environ
        ),
        judging=judging(model, data, seed=0, environ=environ),
        folder=results.folder / f"{model.name}-quantized",
        formats=("tflite-int8", "tflite-f16", "onnx-int8"),
    )


def _written(path: Path, content: bytes) -> Path:
    try:
        write_atomically(path, content)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from error
    return path


def _before(path: Path) -> Measured:
    if not path.is_file():
        return Measured()
    return Measured.from_json(path.read_bytes(), source=str(path))
