"""The manifest of a training artifact: everything a device must know of a model.

The artifact is functional (docs/adr/0005). Its graphs, by name of their inputs and
outputs, with ``pNN`` the parameters in layout order, ``sNN`` the optimizer state
(velocity, shaped like ``pNN``) and ``aNN`` the anchor (the round's base parameters):

* ``train``: ``pNN, sNN, aNN, x[B, ...], y, w[B], lr, momentum, mu`` to
  ``loss, pNN, sNN`` (outputs are called ``new_pNN`` and ``new_sNN``); with Adam also
  ``vNN`` to ``new_vNN``, its second moments; a ``seeded`` one takes ``seed`` int32 too
* ``evaluate``: ``pNN, x, y, w`` to ``loss_sum, metric_sum`` (both weighted sums)
* ``infer``: ``pNN, x`` to ``outputs[B, ...]``

What ``y`` is, and what the metric counts, is the task's:

* classification: ``y[B]`` int32; softmax cross-entropy; right answers
* regression: ``y[B, outputs]`` float32; squared error; absolute error, mean over
  the outputs
* binary: ``y[B, outputs]`` float32, 0 to 1; cross-entropy with logits; part of the
  outputs that is right
* reconstruction: no ``y``, the target is the normalised input; squared and absolute
  error; ``infer`` gives ``score[B]`` as well, the squared error of each example

A TFLite artifact is one file, ``model.tflite``, with the three as signatures; an ONNX
artifact is ``train.onnx``, ``evaluate.onnx``, ``infer.onnx``. ``initial.f32`` holds the
parameters to start from, raw little-endian float32, where they are not drawn.
This module is pure.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, Protocol, Self, TypeAlias, get_args

from wire_protocol.errors import DecodeError
from wire_protocol.feature_statistics import MAX_CHANNELS, channels_of
from wire_protocol.params import ParamLayout, ParamSpec

FORMAT: Final = 2
MAX_MANIFEST_BYTES: Final = 256 * 1024
MAX_ARTIFACT_BYTES: Final = 64 * 1024 * 1024
FAMILIES: Final[Mapping[str, tuple[str, ...]]] = {
    "tflite": ("model.tflite",),
    "onnx": ("train.onnx", "evaluate.onnx", "infer.onnx"),
}
"""Which files a runtime family needs."""
INITIAL: Final = "initial.f32"

Task: TypeAlias = Literal["classification", "regression", "binary", "reconstruction"]
TASKS: Final[tuple[Task, ...]] = get_args(Task)
Optimizer: TypeAlias = Literal["sgd", "adam"]
OPTIMIZERS: Final[tuple[Optimizer, ...]] = get_args(Optimizer)


@dataclass(frozen=True, slots=True)
class FileRef:
    """A file of the artifact, by content."""

    size: int
    sha256: str

    def __post_init__(self) -> None:
        _check(0 < self.size <= MAX_ARTIFACT_BYTES, f"{self.size} is no file size")
        check_sha256(self.sha256)


@dataclass(frozen=True, slots=True)
class SelfTest:
    """Steps every device runs on its own runtime before it joins a round.

    Inputs are the exact integer-hash sequences of ``model_zoo.selftest`` and
    ``edge_agent.selftest``; expected values come from the numpy oracle.

    Attributes:
        losses: Loss before each of the training steps.
        norms: L2 norm of every tensor after the last step.
        eval_loss: Weighted mean loss of the first batch after the last step.
        learning_rate: Of every step.
        momentum: Of every step.
        mu: Weight of the proximal term, anchored at the start.
        tolerance: Greatest relative error of any expected value.
    """

    losses: tuple[float, ...]
    norms: tuple[float, ...]
    eval_loss: float
    learning_rate: float
    momentum: float
    mu: float
    tolerance: float


class Contract(Protocol):
    """What batches of a model look like; a manifest and a definition both say it."""

    @property
    def task(self) -> Task:
        """What is learned."""

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one example."""

    @property
    def outputs(self) -> int:
        """Classes, or values of a target."""

    @property
    def batch(self) -> int:
        """Examples in a step."""

    @property
    def tokens(self) -> int:
        """Inputs are whole numbers below this; 0: any number."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """A model's training artifact, described.

    Attributes:
        name: Of the model.
        task: What is learned, see above.
        input_shape: Of one example.
        outputs: Classes, or values of a target; of a reconstruction, of the input.
        batch: Examples in a step.
        layout: The parameters.
        files: By name.
        selftest: What the device must compute.
        optimizer: Of the training step.
        seeded: Whether the step takes a ``seed``: it drops out at random.
        tokens: Inputs are whole numbers below this; 0: any number.
        labels: Names of the classes, or none.
    """

    name: str
    task: Task
    input_shape: tuple[int, ...]
    outputs: int
    batch: int
    layout: ParamLayout
    files: Mapping[str, FileRef]
    selftest: SelfTest
    optimizer: Optimizer = "sgd"
    seeded: bool = False
    tokens: int = 0
    labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check(0 < len(self.name) <= 64, f"{self.name!r} is no model name")
        _check(self.task in TASKS, f"task {self.task!r} is none of {TASKS}")
        _check(
            self.optimizer in OPTIMIZERS,
            f"optimizer {self.optimizer!r} is none of {OPTIMIZERS}",
        )
        _check(
            0 < len(self.input_shape) <= 3
            and all(0 < side <= 1 << 20 for side in self.input_shape),
            f"{self.input_shape} is no input shape",
        )
        least = 2 if self.task == "classification" else 1
        _check(
            least <= self.outputs <= 1 << 20, f"{self.outputs} is no number of outputs"
        )
        _check(0 <= self.tokens <= 1 << 16, f"{self.tokens} is no number of tokens")
        _check(
            len(self.labels) in {0, self.outputs}
            and all(0 < len(label) <= 64 for label in self.labels),
            "every output has a label of 1 to 64 characters, or none has one",
        )
        channels = channels_of(self.layout)
        _check(
            not channels or channels == self.input_shape[-1] <= MAX_CHANNELS,
            f"statistics are of the {self.input_shape[-1]} channels of the input, at "
            f"most {MAX_CHANNELS}, not of {channels}: begin with standardize()",
        )
        _check(
            any(spec.federated for spec in self.layout.specs),
            "some parameter is trained, and not personal",
        )
        _check(0 < self.batch <= 4096, f"{self.batch} is no batch size")
        known = {INITIAL, *(name for names in FAMILIES.values() for name in names)}
        _check(
            bool(self.files) and set(self.files) <= known,
            f"files are {sorted(known)}, not {sorted(self.files)}",
        )
        _check(
            len(self.selftest.norms) == len(self.layout.specs),
            "the self-test has one norm for each tensor",
        )

    def family_files(self, family: str) -> dict[str, FileRef]:
        """Return the files ``family`` needs; empty when the artifact lacks one."""
        names = FAMILIES[family]
        if any(name not in self.files for name in names):
            return {}
        return {name: self.files[name] for name in names}

    def to_json(self) -> bytes:
        """Canonical JSON: sorted keys, no white space."""
        plain = {"format": FORMAT, **asdict(self)}
        plain["layout"] = plain["layout"]["specs"]
        text = json.dumps(plain, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return text.encode()

    @classmethod
    def from_json(cls, raw: bytes) -> Self:
        """Parse, or raise ``DecodeError``; nothing else, whatever ``raw`` holds."""
        _check(len(raw) <= MAX_MANIFEST_BYTES, f"{len(raw)} bytes are no manifest")
        try:
            plain: dict[str, Any] = json.loads(raw)
            _check(plain["format"] == FORMAT, f"format {FORMAT} is read here")
            test = plain["selftest"]
            return cls(
                name=str(plain["name"]),
                task=plain["task"],
                input_shape=tuple(int(side) for side in plain["input_shape"]),
                outputs=int(plain["outputs"]),
                batch=int(plain["batch"]),
                layout=ParamLayout(tuple(_spec(spec) for spec in plain["layout"])),
                files={
                    str(name): FileRef(int(ref["size"]), str(ref["sha256"]))
                    for name, ref in plain["files"].items()
                },
                selftest=SelfTest(
                    losses=tuple(float(loss) for loss in test["losses"]),
                    norms=tuple(float(norm) for norm in test["norms"]),
                    eval_loss=float(test["eval_loss"]),
                    learning_rate=float(test["learning_rate"]),
                    momentum=float(test["momentum"]),
                    mu=float(test["mu"]),
                    tolerance=float(test["tolerance"]),
                ),
                optimizer=plain["optimizer"],
                seeded=bool(plain["seeded"]),
                tokens=int(plain["tokens"]),
                labels=tuple(str(label) for label in plain["labels"]),
            )
        except (
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
            OverflowError,
            RecursionError,
        ) as error:
            raise DecodeError(f"not a manifest: {error!r:.200}") from error


def check_sha256(text: str) -> None:
    """Raise ``DecodeError`` unless ``text`` is 64 lower-case hex digits."""
    _check(
        len(text) == 64 and set(text) <= set("0123456789abcdef"),
        f"{text!r:.80} is no SHA-256",
    )


def _spec(plain: Mapping[str, Any]) -> ParamSpec:
    return ParamSpec(
        name=str(plain["name"]),
        shape=tuple(int(side) for side in plain["shape"]),
        init=str(plain["init"]),
        scale=float(plain["scale"]),
        trainable=bool(plain["trainable"]),
        personal=bool(plain["personal"]),
    )


def _check(holds: bool, problem: str) -> None:
    if not holds:
        raise DecodeError(problem)
