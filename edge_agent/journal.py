r"""The journal: what a device must know again after a power cut, as bytes.

    edgefed-journal 1 <SHA-256 of the rest, hex> \n <JSON>

It is written before the effects of a state run, whole, and names the files that hold
what is large. Text, so that people can read it. Whatever the bytes are, reading gives a
record or ``DecodeError``. This module is pure.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from typing import Final

from edge_agent.session import (
    Commit,
    Effect,
    Fetching,
    FoldBack,
    Idle,
    Reporting,
    State,
    Training,
)
from wire_protocol.blobs import SHORT_DIGEST
from wire_protocol.error_feedback import Fate
from wire_protocol.errors import DecodeError, Reason
from wire_protocol.fields import Fields, json_object
from wire_protocol.messages import MAX_ROUND, RoundOffer

MAX_BYTES: Final = 256 * 1024
_MAGIC: Final = "edgefed-journal 1"


@dataclass(frozen=True, slots=True)
class KeptModel:
    """The version of the global model that is on disk."""

    version: int
    params: str
    layout: str

    @classmethod
    def read(cls, fields: Fields) -> "KeptModel":
        """Read from a journal's object."""
        return cls(
            fields.whole("version"),
            fields.digest("params"),
            fields.digest("layout", digits=SHORT_DIGEST),
        )


@dataclass(frozen=True, slots=True)
class KeptUpdate:
    """The last update, which is on disk with what was meant, and its fate.

    While it is sent it is the outbox; afterwards the error-feedback residual follows
    from it.
    """

    round: int
    transfer: str
    layout: str
    fate: Fate = Fate.UNTOLD

    @classmethod
    def read(cls, fields: Fields) -> "KeptUpdate":
        """Read from a journal's object."""
        return cls(
            _round(fields),
            fields.digest("transfer", digits=SHORT_DIGEST),
            fields.digest("layout", digits=SHORT_DIGEST),
            Fate(_one_of(fields, "fate", [str(fate) for fate in Fate])),
        )


@dataclass(frozen=True, slots=True)
class Record:
    """Everything the journal says.

    Attributes:
        state: Of the round machine; its offers have no cohort.
        model: What ``memory`` keeps of the global model.
        update: The last update that was made.
        bytes_down: Fetched for the round under way.
    """

    state: State = field(default_factory=Idle)
    model: KeptModel | None = None
    update: KeptUpdate | None = None
    bytes_down: int = 0

    def after(self, state: State, effects: tuple[Effect, ...]) -> "Record":
        """Return the record of ``state``, the verdicts among ``effects`` included.

        A verdict is recorded with the state that follows from it: a kill between the
        two would count an update twice, or lose it.
        """
        update = self.update
        for effect in effects:
            match update, effect:
                case KeptUpdate(transfer=kept), Commit(_, transfer) if kept == transfer:
                    update = replace(update, fate=update.fate.counted())
                case KeptUpdate(transfer=kept), FoldBack(_, transfer) if (
                    kept == transfer
                ):
                    update = replace(update, fate=update.fate.folded_back())
        return replace(self, state=state, update=update)


def to_bytes(record: Record) -> bytes:
    """Return the journal of ``record``."""
    plain = {
        "state": _plain_state(record.state),
        "model": [asdict(record.model)] if record.model else [],
        "update": [asdict(record.update)] if record.update else [],
        "bytes_down": record.bytes_down,
    }
    text = json.dumps(plain, sort_keys=True, separators=(",", ":")).encode()
    return f"{_MAGIC} {hashlib.sha256(text).hexdigest()}\n".encode() + text


def from_bytes(raw: bytes) -> Record:
    """Return the record of a journal, or raise ``DecodeError`` and nothing else."""
    if len(raw) > MAX_BYTES:
        raise DecodeError(f"a journal has up to {MAX_BYTES} bytes, not {len(raw)}")
    head, _, text = raw.partition(b"\n")
    if head != f"{_MAGIC} {hashlib.sha256(text).hexdigest()}".encode():
        raise DecodeError("not a journal of this version, or not whole")
    fields = Fields(json_object(text, what="a journal"), owner="journal")
    models, updates = (fields.groups(name, most=1) for name in ("model", "update"))
    return Record(
        state=_state(fields.group("state")),
        model=KeptModel.read(models[0]) if models else None,
        update=KeptUpdate.read(updates[0]) if updates else None,
        bytes_down=fields.whole("bytes_down"),
    )


def _plain_state(state: State) -> dict[str, object]:
    plain: dict[str, object] = {"phase": type(state).__name__.lower()}
    match state:
        case Idle(done, declined, closed):
            plain["offers"] = [asdict(done)] if done else []
            plain |= {"declined": declined or "", "closed": closed}
        case Fetching(offer) | Training(offer):
            plain["offers"] = [asdict(offer)]
        case Reporting(offer, transfer, following):
            offers = [offer, following] if following else [offer]
            plain["offers"] = [asdict(one) for one in offers]
            plain["transfer"] = transfer
    return plain


def _state(fields: Fields) -> State:
    offers = [RoundOffer.read(one) for one in fields.groups("offers", most=2)]
    match fields.text("phase"), offers:
        case "idle", []:
            return Idle(None, *_ending(fields))
        case "idle", [done]:
            return Idle(done, *_ending(fields))
        case "fetching", [offer]:
            return Fetching(offer)
        case "training", [offer]:
            return Training(offer)
        case "reporting", [offer, *rest]:
            transfer = fields.digest("transfer", digits=SHORT_DIGEST)
            return Reporting(offer, transfer, *rest)
        case phase, _:
            raise DecodeError(f"no state {phase!r} with {len(offers)} offers")


def _ending(fields: Fields) -> tuple[Reason | None, bool]:
    declined = _one_of(fields, "declined", ["", *(str(reason) for reason in Reason)])
    return Reason(declined) if declined else None, fields.flag("closed")


def _round(fields: Fields) -> int:
    return fields.whole("round", least=1, most=MAX_ROUND)


def _one_of(fields: Fields, name: str, known: list[str]) -> str:
    text = fields.text(name, longest=32)
    if text not in known:
        raise DecodeError(f"journal: {name} is none of {known}")
    return text
