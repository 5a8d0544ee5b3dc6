"""Publications: what the server says of itself and of a round, as messages and text.

This module is pure.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal, TypeAlias

from broker_server.artifact import Artifact
from broker_server.config import ServerConfig
from broker_server.model_line import Tip
from broker_server.records import RoundRecord
from broker_server.round_states import Collecting, Merging, State
from broker_server.tally import Ending, Tally
from wire_protocol.messages import RoundOffer, ServerInfo

Phase: TypeAlias = Literal[
    "waiting",
    "collecting",
    "merging",
    "failed",
    "finished",
    "stopped",
    "storage trouble",
]


@dataclass(frozen=True, slots=True)
class ServerState:
    """What ``server/state`` shows: plain JSON, for people and displays.

    ``version`` is the newest; ``metric`` (accuracy, or mean error) and ``loss`` are
    those of the last merged round. ``reason`` says why a run is finished.
    """

    phase: Phase
    round: int
    version: int
    devices: int
    cohort: Sequence[str] = ()
    received: Sequence[str] = ()
    loss: float | None = None
    metric: float | None = None
    refused: Mapping[str, int] | None = None
    reason: str = ""

    def to_json(self) -> bytes:
        """Return compact JSON with sorted keys."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":")).encode()


def server_state(
    phase: Phase,
    state: State,
    *,
    tally: Tally,
    version: int,
    devices: int,
    offer: RoundOffer | None,
    refused: Mapping[str, int],
    ending: Ending,
) -> ServerState:
    """Return what is shown of the latest round; with its ``offer`` if it is open."""
    last_merged = tally.last_merged
    return ServerState(
        phase=phase,
        round=tally.number,
        version=version,
        devices=devices,
        cohort=offer.cohort if offer else (),
        received=sorted(state.reported)
        if isinstance(state, Collecting | Merging)
        else (),
        loss=last_merged.loss if last_merged else None,
        metric=last_merged.metric if last_merged else None,
        refused=refused,
        reason=ending if phase in ("finished", "stopped") else "",
    )


def server_info(
    config: ServerConfig, artifact: Artifact, *, block_bytes: int, channels: int
) -> ServerInfo:
    """Return what devices must know before they check in."""
    return ServerInfo(
        block_bytes=block_bytes,
        window=config.server.window,
        model=artifact.manifest.name,
        resend_s=config.server.resend_s,
        channels=channels,
    )


def round_offer(
    config: ServerConfig,
    artifact: Artifact,
    tip: Tip,
    *,
    number: int,
    cohort: tuple[str, ...],
) -> RoundOffer:
    """Return the invitation to round ``number``."""
    return RoundOffer(
        round=number,
        version=tip.model.version,
        params=tip.keyframe.sha256,
        layout=artifact.manifest.layout.digest,
        manifest=artifact.ref,
        keyframe=tip.keyframe,
        deltas=tip.deltas,
        plan=config.training_plan(),
        codec=config.codec.uplink,
        cohort=cohort,
        budget_s=config.round.deadline_s,
        max_staleness=config.round.max_staleness,
    )


def round_line(record: RoundRecord) -> str:
    """Return one line for people about a closed round.

    >>> cohort = ("a", "b")
    >>> round_line(
    ...     RoundRecord(3, 2, "failed", None, 0.0, 9.0, 9.0, cohort, (), {}, "deadline")
    ... )
    'round 3 failed (deadline): 0 of 2 devices, 0.0 kB up, 0.0 kB down, 9.00 s'
    """
    parts = [f"{len(record.participants)} of {len(record.cohort)} devices"]
    if record.late or record.carried:
        parts.append(f"{record.late} late, {record.carried} carried")
    if record.loss is not None:
        parts.append(f"loss {record.loss:.4g}")
    if record.metric is not None:
        parts.append(f"metric of version {record.version} {record.metric:.4f}")
    parts += [
        f"{record.bytes_up / 1000:.1f} kB up",
        f"{record.bytes_down / 1000:.1f} kB down",
        f"{record.seconds or 0.0:.2f} s",
    ]
    if record.outcome == "merged":
        parts.append(f"overhead {record.overhead_seconds or 0.0:.3f} s")
    parts += [f"{count} {reason}" for reason, count in sorted(record.refused.items())]
    cause = f" ({record.cause})" if record.cause else ""
    return f"round {record.round} {record.outcome}{cause}: {', '.join(parts)}"
