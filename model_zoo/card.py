"""A model's card: its ``README.md``, rendered from definition and measurements. Pure.

No number on a card is written by hand: sizes come from the manifest, operations from
the definition, qualities and memory from ``measured.json``.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from model_zoo.data.credits import Credit
from model_zoo.macs import forward_macs
from model_zoo.measured import Measured, Memory, Quality
from model_zoo.metrics import METRICS, Metric
from model_zoo.model import Model
from model_zoo.quantize.record import File, Quantized
from model_zoo.sequence import shape_after
from wire_protocol.manifest import FAMILIES, Manifest, Task

_FAMILY_NAMES: Mapping[str, str] = {"tflite": "TFLite (LiteRT)", "onnx": "ONNX"}
_OUTPUTS: Mapping[Task, str] = {
    "classification": "logits, one for each class",
    "regression": "values",
    "binary": "logits, one for each bit",
    "reconstruction": (
        "what the first layers make of the input, reconstructed; and a score for "
        "each example, its squared error"
    ),
}
_JUDGES = {"unseen": "unseen clients", "held-out": "held-out examples"}
_OPTIMIZERS = {"sgd": "SGD with momentum", "adam": "Adam"}


@dataclass(frozen=True, slots=True)
class Subject:
    """What a card is about.

    Attributes:
        model: The definition.
        about: The definition's docstring.
        manifest: Of the built artifact.
        measured: What was measured.
        quantized: What its quantized artifacts lose, where that was measured.
        credit: Of the model's data set, where it is a known one.
    """

    model: Model
    about: str
    manifest: Manifest
    measured: Measured
    quantized: Quantized | None
    credit: Credit | None


def render(subject: Subject) -> str:
    """Return the card, Markdown that ends in a newline."""
    model = subject.model
    origin = (
        f"*Rendered by `edgefed zoo card {model.name} --write`. Figures were measured "
        "by `make bench-quality ARGS=--record`.*"
    )
    parts = [
        f"# {model.name}",
        _about(subject),
        _table(("", ""), _facts(subject)),
        *_quality_part(subject),
        *_memory_part(subject.measured.memory),
        *_quantized_part(subject.quantized),
        *_use_part(subject),
        *_data_part(subject),
        origin,
    ]
    return "\n\n".join(part.rstrip() for part in parts) + "\n"


def _about(subject: Subject) -> str:
    """Return the docstring without the name in front, and with Markdown's code."""
    text = subject.about.strip().replace("``", "`")
    text = text.removeprefix(f"`{subject.model.name}`: ")
    return _capital(text)


def _facts(subject: Subject) -> Iterator[tuple[str, str]]:
    model, layout = subject.model, subject.manifest.layout
    yield "Task", model.task
    kind = f"whole numbers below {model.tokens}" if model.tokens else "float32"
    yield "Input", f"{_shape(model.input_shape)} {kind}"
    shape = shape_after(model.layers, model.input_shape)
    yield "Output", f"{_shape(shape)} {_OUTPUTS[model.task]}"
    if model.labels:
        yield "Classes", ", ".join(model.labels)
    yield "Layers", ", ".join(layer.kind for layer in model.layers)
    yield "Parameters", f"{layout.size:,}{_kept(subject.manifest)}"
    yield (
        "Multiply-accumulates",
        f"{forward_macs(model):,} for one example, forward",
    )
    yield "Local training", f"{_OPTIMIZERS[model.optimizer]}, batches of {model.batch}"
    for family in FAMILIES:
        files = subject.manifest.family_files(family)
        if files:
            size = sum(ref.size for ref in files.values())
            yield f"Artifact, {_FAMILY_NAMES[family]}", f"{size / 1000:.1f} kB"


def _kept(manifest: Manifest) -> str:
    specs = manifest.layout.specs
    personal = sum(spec.size for spec in specs if spec.personal)
    frozen = sum(spec.size for spec in specs if not spec.trainable)
    notes = [
        f"{count:,} {what}"
        for count, what in (
            (personal, "stay on the device"),
            (frozen, "are not trained"),
        )
        if count
    ]
    return f", of which {' and '.join(notes)}" if notes else ""


def _quality_part(subject: Subject) -> Iterator[str]:
    qualities = subject.measured.quality
    if not qualities:
        return
    metric = METRICS[subject.model.task]
    yield "## Quality"
    direction = "more" if metric.better == "higher" else "less"
    yield (
        f"{_capital(metric.name)}, {direction} is better: the median and the range "
        "over the seeds. *Federated* is the model after the last round, "
        "*central* the same model trained on all examples in one place at the same "
        "learning rate, *alone* the mean over models that devices trained by "
        "themselves. All are judged on the same examples."
    )
    yield _table(
        ("data", "judged on", "federated", "central", "alone", "target"),
        [
            (
                one.recipe.data,
                _JUDGES[one.recipe.judging],
                f"**{_spread(one.federated)}**",
                _spread(one.central),
                _spread(one.local),
                _target(one, metric),
            )
            for one in qualities.values()
        ],
    )
    for one in qualities.values():
        yield _settings(one)


def _settings(one: Quality) -> str:
    recipe = one.recipe
    cohort = (
        f"{recipe.cohort} of {one.devices} devices in each"
        if 0 < recipe.cohort < one.devices
        else f"all {one.devices} devices in each"
    )
    server = (
        f"FedAvgM with β {recipe.beta:g}" if recipe.optimizer == "fedavgm" else "FedAvg"
    )
    spread = recipe.partition or "natural clients"
    sample = (
        f", a sample of {one.local_devices} devices"
        if one.local_devices < one.devices
        else ""
    )
    federation = (
        f"`{recipe.data}`, {spread}: {recipe.rounds} rounds with {cohort}, "
        f"{_times(recipe.epochs, 'local epoch')} at learning rate "
        f"{recipe.learning_rate:g} and momentum {recipe.momentum:g}; {server} on the "
        f"server; codec `{recipe.codec}`, {one.bits_up:.2f} bits per parameter and "
        "update."
    )
    examples = (
        f"{one.training_examples:,} training examples, {one.test_examples:,} that "
        f"judge, {_times(len(one.federated), 'seed')}."
    )
    others = (
        f"Central: {_times(recipe.central_epochs, 'epoch')}; alone: "
        f"{_times(recipe.local_epochs, 'epoch')}{sample}."
    )
    sentences = [federation, examples, others]
    if recipe.chosen:
        sentences.append(f"Settings were chosen on {recipe.chosen}.")
    return " ".join(sentences)


def _target(one: Quality, metric: Metric) -> str:
    target = one.recipe.target
    if target is None:
        return ""
    sign = "≥" if metric.better == "higher" else "≤"
    met = all(metric.reaches(value, target) for value in one.federated)
    return f"{sign} {target:g} {'with every seed' if met else 'missed'}"


def _memory_part(memory: Mapping[str, Memory]) -> Iterator[str]:
    if not memory:
        return
    yield "## Memory"
    yield (
        "Peak resident memory of a process that trains, or infers batch by batch, on "
        "x86-64; the first column is what Python, numpy and the runtime take alone."
    )
    yield _table(
        ("runtime", "runtime alone", "training", "inference"),
        [
            (
                f"{name} {one.version}",
                *(
                    f"{mib:.0f} MiB"
                    for mib in (one.floor_mib, one.train_mib, one.infer_mib)
                ),
            )
            for name, one in memory.items()
        ],
    )


def _quantized_part(quantized: Quantized | None) -> Iterator[str]:
    if quantized is None:
        return
    yield "## Quantized for inference"
    yield (
        f"`edgefed zoo quantize {quantized.model}` of the federated model, calibrated "
        f"on {quantized.calibration:,} training examples and judged on "
        f"{quantized.judged:,} others. *Lost* is against the float32 artifact of the "
        "same family."
    )
    yield _table(
        ("artifact", "size", "metric", "value", "lost"),
        [_quantized_row(file) for file in quantized.files],
    )


def _quantized_row(file: File) -> tuple[str, ...]:
    found = file.judgement
    judged = ("", "", "")
    if found is not None and found.value is not None and found.loss is not None:
        lost = "" if file.format.endswith("f32") else f"{found.loss:.4f}"
        judged = (found.metric, f"{found.value:.4f}", lost)
    return file.format, f"{file.ref.size / 1000:.1f} kB", *judged


def _use_part(subject: Subject) -> Iterator[str]:
    model = subject.model
    yield "## Use"
    unseen = any(
        one.recipe.judging == "unseen" for one in subject.measured.quality.values()
    )
    flags = f"--data {model.data} --model {model.name}" + (
        " --unseen" if unseen else ""
    )
    yield (
        "```sh\n"
        f"edgefed demo {flags}   # a whole federation on one machine\n"
        f"edgefed zoo path {model.name}   # the artifact's folder\n"
        "```"
    )
    yield f'In a server\'s configuration: `artifact = "{model.name}"` below `[model]`.'


def _data_part(subject: Subject) -> Iterator[str]:
    credit = subject.credit
    if credit is None:
        return
    yield "## Data"
    yield (
        f"`{subject.model.data}`, from <{credit.source}>. Licence: {credit.licence}. "
        f"Cite: {credit.citation}."
    )


def _spread(values: Sequence[float]) -> str:
    if len(values) == 1:
        return f"{values[0]:.3f}"
    return f"{median(values):.3f} ({min(values):.3f} to {max(values):.3f})"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _shape(shape: Sequence[int]) -> str:
    return "[" + ", ".join(map(str, shape)) + "]"


def _times(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _table(
    head: Sequence[str], rows: Iterator[Sequence[str]] | Sequence[Sequence[str]]
) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def overview(subjects: Sequence[Subject]) -> str:
    """Return one table of all models, Markdown, with links from ``docs/``."""
    return _table(
        (
            "model",
            "data",
            "parameters",
            "MACs",
            "metric",
            "federated",
            "central",
            "alone",
        ),
        [row for subject in subjects for row in _overview_rows(subject)],
    )


def _overview_rows(subject: Subject) -> Iterator[tuple[str, ...]]:
    model = subject.model
    folder = f"../model_zoo/models/{model.name.replace('-', '_')}/README.md"
    what = (f"[{model.name}]({folder})",)
    size = (f"{model.layout.size:,}", f"{forward_macs(model):,}")
    qualities = subject.measured.quality
    if not qualities:
        yield (*what, model.data, *size, METRICS[model.task].name, "", "", "")
    for one in qualities.values():
        judges = f"{one.recipe.data}, {_JUDGES[one.recipe.judging]}"
        found = map(_spread, (one.federated, one.central, one.local))
        yield (*what, judges, *size, METRICS[model.task].name, *found)
