"""What a demo found out, and its JSON (docs/demo.schema.json). This module is pure."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import mean, median

from model_zoo.metrics import Metric
from tools.demo.plan import DemoPlan

FLOAT32_BITS = 32


@dataclass(frozen=True, slots=True)
class RoundOutcome:
    """One merged round.

    Attributes:
        round: Its number, from 1.
        version: Of the model it made.
        quality: Of that model on the judging examples, by the demo's metric.
        participants: Devices whose updates were merged.
        runtimes: What they trained with, each once.
        loss: Mean training loss, weighted by examples.
        bytes_up: Of update frames, all participants together.
        bytes_down: Of model blobs, all participants together.
        seconds: From offer to merge.
        overhead_seconds: ``seconds`` less the longest training in it.
        refused: Dropped messages, by reason.
    """

    round: int
    version: int
    quality: float
    participants: tuple[str, ...]
    runtimes: tuple[str, ...]
    loss: float
    bytes_up: int
    bytes_down: int
    seconds: float
    overhead_seconds: float
    refused: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class DeviceOutcome:
    """One device over the whole run; byte counts are all of its socket's."""

    name: str
    runtime: str
    num_examples: int
    rounds: int
    bytes_sent: int
    bytes_received: int
    rss_mib: float
    local_quality: float | None


@dataclass(frozen=True, slots=True)
class Baselines:
    """Qualities on the judging examples; ``local`` in the order of the devices."""

    central: float
    local: tuple[float, ...]

    @property
    def local_mean(self) -> float:
        """Mean of the devices' own models."""
        return mean(self.local)


@dataclass(frozen=True, slots=True)
class DemoOutcome:
    """One demo."""

    plan: DemoPlan
    metric: Metric
    parameters: int
    test_examples: int
    rounds: tuple[RoundOutcome, ...]
    devices: tuple[DeviceOutcome, ...]
    baselines: Baselines | None
    seconds: float

    @property
    def quality(self) -> float:
        """Of the last version, by the metric."""
        return self.rounds[-1].quality

    @property
    def parts(self) -> int:
        """Updates merged: one for each device and round it took part in."""
        return sum(len(entry.participants) for entry in self.rounds)

    def bits_per_param(self, total_bytes: int) -> float:
        """Spread ``total_bytes`` over parameters, and over devices and rounds."""
        return 8 * total_bytes / (self.parameters * self.parts)

    @property
    def uplink_bits_per_param(self) -> float:
        """Bits of update frames for each parameter, device and round."""
        return self.bits_per_param(sum(entry.bytes_up for entry in self.rounds))

    @property
    def downlink_bits_per_param(self) -> float:
        """Bits of model blobs for each parameter, device and round."""
        return self.bits_per_param(sum(entry.bytes_down for entry in self.rounds))

    @property
    def sent_bits_per_param(self) -> float:
        """All bits devices sent over their sockets, spread the same way."""
        return self.bits_per_param(sum(device.bytes_sent for device in self.devices))

    @property
    def received_bits_per_param(self) -> float:
        """All bits devices received over their sockets, spread the same way."""
        return self.bits_per_param(
            sum(device.bytes_received for device in self.devices)
        )

    def to_json(self) -> dict[str, object]:
        """Return the object that docs/demo.schema.json describes."""
        return {
            "schema": 2,
            **{
                f"{name}_wanted" if name in ("devices", "rounds") else name: value
                for name, value in asdict(self.plan).items()
            },
            "parameters": self.parameters,
            "test_examples": self.test_examples,
            "metric": self.metric.name,
            "better": self.metric.better,
            "quality": self.quality,
            "central_quality": self.baselines.central if self.baselines else None,
            "local_quality_mean": (
                self.baselines.local_mean if self.baselines else None
            ),
            "uplink_bits_per_param": self.uplink_bits_per_param,
            "downlink_bits_per_param": self.downlink_bits_per_param,
            "sent_bits_per_param": self.sent_bits_per_param,
            "received_bits_per_param": self.received_bits_per_param,
            "overhead_seconds_median": median(
                entry.overhead_seconds for entry in self.rounds
            ),
            "seconds": self.seconds,
            "rounds": [asdict(entry) for entry in self.rounds],
            "devices": [asdict(device) for device in self.devices],
        }


def rounds_to(
    target: float, rounds: Sequence[RoundOutcome], *, metric: Metric
) -> int | None:
    """Return the first round whose quality is at least as good as ``target``."""
    good = (one.round for one in rounds if metric.reaches(one.quality, target))
    return next(good, None)
