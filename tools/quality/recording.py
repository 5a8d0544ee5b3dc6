"""Recording: measurements into the models' folders, where cards find them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from statistics import median

from model_zoo import zoo
from model_zoo.measured import FILE, Measured, Quality
from tools.quality.memory import measure_memory
from tools.quality.summary import Summary
from wire_protocol.atomic_file import write_atomically
from wire_protocol.errors import ConfigError


def record(summaries: Sequence[Summary]) -> Iterator[Path]:
    """Write the ``measured.json`` of every model in ``summaries``; yield its path.

    Experiments that are not complete, or not among them, stay as they were recorded.

    Raises:
        ConfigError: A file cannot be written, or an earlier one is damaged.
        TrainingError: A runtime failed while its memory was measured.
    """
    for model, of_model in groupby(summaries, key=lambda summary: summary.model):
        path = zoo.model_folder(model) / FILE
        found = {one.experiment: quality_of(one) for one in of_model if one.complete}
        measured = updated(_before(path), found, model=model)
        try:
            write_atomically(path, measured.to_json())
        except OSError as error:
            raise ConfigError(f"{path} cannot be written: {error.strerror}") from error
        yield path


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


def _before(path: Path) -> Measured:
    if not path.is_file():
        return Measured()
    return Measured.from_json(path.read_bytes(), source=str(path))
