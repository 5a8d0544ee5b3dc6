"""Messages both sides exchange: frozen, validated, and named by the field's terms.

``to_header`` and ``read`` are inverse. A device is never named in a message about
itself: its topic says who it is, and the broker's access control holds it to that.
Durations are sent, never times of day: most boards have no clock to trust.
This module is pure.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import ClassVar, Final, Self, TypeAlias

from wire_protocol.blobs import (
    MAX_BLOCK_BYTES,
    MAX_WINDOW,
    MIN_BLOCK_BYTES,
    SHORT_DIGEST,
    BlobRef,
    Block,
    BlockList,
    Need,
)
from wire_protocol.enrolment import (
    EnrolGrant,
    EnrolRefusal,
    EnrolRequest,
    JoinToken,
    RenewalCall,
)
from wire_protocol.errors import DecodeError, Reason
from wire_protocol.feature_statistics import MAX_CHANNELS, FeatureStatistics
from wire_protocol.fields import Fields
from wire_protocol.manifest import FAMILIES

MAX_COHORT: Final = 500
MAX_ROUND: Final = 2**31
MAX_STALENESS: Final = 1000


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """What local training means in this round.

    Attributes:
        epochs: Passes over the local examples.
        learning_rate: Of every step.
        momentum: Of the local SGD; its velocity starts at zero in every round.
        mu: Weight of FedProx's proximal term (Li et al., MLSys 2020); 0 is off.
        evaluate: Whether to judge the base model on the local hold-out first.
        seed: From which the order of examples is drawn, with the device id and round.
    """

    epochs: int
    learning_rate: float
    momentum: float
    mu: float
    evaluate: bool
    seed: int

    @classmethod
    def read(cls, fields: Fields) -> Self:
        """Read from a header's object."""
        return cls(
            epochs=fields.whole("epochs", least=1, most=10_000),
            learning_rate=fields.real("learning_rate", least=0.0, most=1e3),
            momentum=fields.real("momentum", least=0.0, most=1.0),
            mu=fields.real("mu", least=0.0, most=1e3),
            evaluate=fields.flag("evaluate"),
            seed=fields.whole("seed"),
        )


@dataclass(frozen=True, slots=True)
class DeltaRef:
    """The downlink delta that leads from ``version - 1`` to ``version``."""

    version: int
    blob: BlobRef

    @classmethod
    def read(cls, fields: Fields) -> Self:
        """Read from a header's object."""
        return cls(fields.whole("version", least=1), BlobRef.read(fields.group("blob")))


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """What a device must know of its server before it checks in.

    Attributes:
        block_bytes: Largest payload: what the server was told, or less where its
            broker takes no more.
        window: Blocks that may be under way to one receiver at a time.
        model: Name of the model, for people.
        resend_s: When to repeat what got no answer.
        channels: Of how many a check-in should bring statistics; 0: of none.
    """

    kind: ClassVar[str] = "server_info"
    block_bytes: int
    window: int
    model: str
    resend_s: float
    channels: int = 0

    @classmethod
    def read(cls, fields: Fields) -> Self:
        """Read from a header."""
        return cls(
            block_bytes=fields.whole(
                "block_bytes", least=MIN_BLOCK_BYTES, most=MAX_BLOCK_BYTES
            ),
            window=fields.whole("window", least=1, most=MAX_WINDOW),
            model=fields.text("model", longest=64),
            resend_s=fields.real("resend_s", least=0.05, most=3600),
            channels=fields.whole("channels", most=MAX_CHANNELS),
        )


@dataclass(frozen=True, slots=True)
class CheckIn:
    """A device says that it is here and what it can do; retained.

    Attributes:
        conn: Number of this connection; an older will is stale.
        runtime: Name and version, for people.
        family: Which artifact files it runs: a key of ``FAMILIES``.
        codecs: Names of the codecs it speaks.
        num_examples: Local training examples, without the hold-out.
        busy: Round it still works on, or whose update has no receipt yet; 0 is none.
        statistics: Of its training examples, when the server asks for them.
    """

    kind: ClassVar[str] = "check_in"
    conn: int
    runtime: str
    family: str
    codecs: tuple[str, ...]
    num_examples: int
    busy: int = 0
    statistics: FeatureStatistics | None = None

    @classmethod
    def read(cls, fields: Fields) -> Self:
        """Read from a header."""
        family = fields.text("family", longest=16)
        if family not in FAMILIES:
            raise DecodeError(f"family {family!r} is none of {sorted(FAMILIES)}")
        statistics = fields.groups("statistics", most=1)
        return cls(
            conn=fields.whole("conn"),
            runtime=fields.text("runtime", longest=64),
            family=family,
            codecs=fields.texts("codecs", most=32),
            num_examples=fields.whole("num_examples", least=1),
            busy=fields.whole("busy", most=MAX_ROUND),
            statistics=FeatureStatistics.read(statistics[0]) if statistics else None,
        )


@dataclass(frozen=True, slots=True)
class RoundOffer:
    """The server's invitation to its cohort to train one model version.

    ``params`` is the digest of the parameters to train from. A device that holds an
    older version takes ``deltas``, any other the ``keyframe``, whichever is smaller.
    ``budget_s`` counts from receipt. An update that comes after the round is over still
    counts, for less, until the model is ``max_staleness`` versions further than its
    base; 0 means that it must come while the round is open.
    """

    kind: ClassVar[str] = "round_offer"
    round: int
    version: int
    params: str
    layout: str
    manifest: BlobRef
    keyframe: BlobRef
    deltas: tuple[DeltaRef, ...]
    plan: TrainingPlan
    codec: str
    cohort: tuple[str, ...]
    budget_s: float
    max_staleness: int

    @classmethod
    def read(cls, fields: Fields) -> Self:
        """Read from a header."""
        return cls(
            round=fields.whole("round", least=1, most=MAX_ROUND),
            version=fields.whole("version"),
            params=fields.digest("params"),
            layout=fields.digest("layout", digits=SHORT_DIGEST),
            manifest=BlobRef.read(fields.group("manifest")),
            keyframe=BlobRef.read(fields.group("keyframe")),
            deltas=tuple(
                DeltaRef.read(item) for item in fields.groups("deltas", most=64)
            ),
            plan=TrainingPlan.read(fields.group("plan")),
            codec=fields.text("codec", longest=32),
            cohort=fields.texts("cohort", most=MAX_COHORT),
            budget_s=fields.real("budget_s", least=0.0, most=1e7),
            max_staleness=fields.whole("max_staleness", most=MAX_STALENESS),
        )


@dataclass(frozen=True, slots=True)
class ModelDelta:
    """The head of a downlink delta; the body is the encoded delta."""

    kind: ClassVar[str] = "model_delta"
    version: int
    codec: str

    @classmethod
    def read(cls, fields: Fields) -> Self:
        """Read from a header."""
        return cls(fields.whole("version", least=1), fields.text("codec", longest=32))


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A model judged on examples: weighted sums, so that devices' may be added.

    ``metric_sum`` counts right answers or absolute errors, see the manifest.
    """

    examples: int
    loss_sum: float
    metric_sum: float

    @classmethod
    def read(cls, fields: Fields) -> Self:
        """Read from a header's object."""
        examples = fields.whole("examples", least=1)
        return cls(
            examples=examples,
            loss_sum=fields.real("loss_sum"),
            metric_sum=fields.real("metric_sum", least=0.0),
        )


@dataclass(frozen=True, slots=True)
class ClientUpdate:
    """One device's part in one round; the body is the encoded delta.

    ``delta`` is trained - base. ``base`` and ``layout`` are short digests that bind the
    update to what it was trained from. ``loss`` is the mean over the last epoch.
    ``bytes_down`` counts the payloads of the blobs fetched for this round.
    """

    kind: ClassVar[str] = "client_update"
    round: int
    base: str
    layout: str
    codec: str
    num_examples: int
    steps: int
    loss: float
    train_s: float
    bytes_down: int
    evaluation: Evaluation | None

    @classmethod
    def read(cls, fields: Fields) -> Self:
        """Read from a header."""
        evaluated = fields.groups("evaluation", most=1)
        return cls(
            round=fields.whole("round", least=1, most=MAX_ROUND),
            base=fields.digest("base", digits=SHORT_DIGEST),
            layout=fields.digest("layout", digits=SHORT_DIGEST),
            codec=fields.text("codec", longest=32),
            num_examples=fields.whole("num_examples", least=1, most=2**31),
            steps=fields.whole("steps", least=1),
            loss=fields.real("loss"),
            train_s=fields.real("train_s", least=0.0),
            bytes_down=fields.whole("bytes_down"),
            evaluation=Evaluation.read(evaluated[0]) if evaluated else None,
        )


@dataclass(frozen=True, slots=True)
class UpdateReceipt:
    """The server's answer to an update; its transfer is the digest's first 16 digits.

    ``Reason.ACCEPTED``: the update counts, once. Anything else: it never will.
    """

    kind: ClassVar[str] = "update_receipt"
    round: int
    transfer: str
    reason: Reason

    @classmethod
    def read(cls, fields: Fields) -> Self:
        """Read from a header."""
        return cls(
            round=fields.whole("round", least=1, most=MAX_ROUND),
            transfer=fields.digest("transfer", digits=SHORT_DIGEST),
            reason=fields.reason(),
        )


@dataclass(frozen=True, slots=True)
class Abandoned:
    """A device will send no update for this round, and why."""

    kind: ClassVar[str] = "abandoned"
    round: int
    reason: Reason

    @classmethod
    def read(cls, fields: Fields) -> Self:
        """Read from a header."""
        return cls(
            fields.whole("round", least=1, most=MAX_ROUND), reason=fields.reason()
        )


Message: TypeAlias = (
    ServerInfo
    | CheckIn
    | RoundOffer
    | Need
    | Block
    | BlockList
    | ModelDelta
    | ClientUpdate
    | UpdateReceipt
    | Abandoned
    | JoinToken
    | EnrolRequest
    | EnrolGrant
    | EnrolRefusal
    | RenewalCall
)

MESSAGES: Final[Mapping[str, type[Message]]] = {
    message.kind: message
    for message in (
        ServerInfo,
        CheckIn,
        RoundOffer,
        Need,
        Block,
        BlockList,
        ModelDelta,
        ClientUpdate,
        UpdateReceipt,
        Abandoned,
        JoinToken,
        EnrolRequest,
        EnrolGrant,
        EnrolRefusal,
        RenewalCall,
    )
}
"""Every message there is, by the name it has on the wire."""


_OPTIONAL: Final = frozenset({"evaluation", "statistics"})


def to_header(message: Message) -> dict[str, object]:
    """Return the JSON object of ``message``, with its kind under ``t``."""
    header: dict[str, object] = {"t": message.kind, **asdict(message)}
    for name in _OPTIONAL & header.keys():
        # absent or present once: a list needs no null on the wire
        header[name] = [] if header[name] is None else [header[name]]
    return header
