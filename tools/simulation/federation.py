"""A simulated federation: the product's rounds without its processes and messages.

Sampling, training, codecs with error feedback, the guard, the server optimizer and the
quantized downlink are the functions that server and agents run. What is left out is
what can go wrong between them: every device that is drawn reports in time.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from broker_server.global_model import GlobalModel, advance, first_model
from broker_server.guard import Guarded, History, guarded_mean
from broker_server.guard_settings import GuardSection
from broker_server.sampling import draw_cohort
from broker_server.server_optimizers import optimizer_named
from broker_server.stored_cohort import Contribution
from broker_server.told_statistics import moderated
from edge_agent.trainers.trainer import Trainer
from tools.simulation.devices import SimulatedDevice
from wire_protocol.codecs import codec_named
from wire_protocol.feature_statistics import (
    channels_of,
    feature_statistics,
    standardized,
)
from wire_protocol.manifest import Manifest
from wire_protocol.messages import TrainingPlan
from wire_protocol.params import Vector


@dataclass(frozen=True, slots=True)
class Settings:
    """How a federation learns.

    Attributes:
        plan: Of local training; its seed is that of everything drawn.
        cohort: Devices drawn for each round.
        optimizer: Of the server: ``fedavg`` or ``fedavgm``.
        beta: Its momentum.
        server_learning_rate: Its learning rate.
        codec: Of updates.
        downlink: Of the model on its way down.
        guard: Of the server.
    """

    plan: TrainingPlan
    cohort: int
    optimizer: str = "fedavgm"
    beta: float = 0.5
    server_learning_rate: float = 1.0
    codec: str = "uq"
    downlink: str = "uq:1"
    guard: GuardSection = field(default_factory=GuardSection)


@dataclass(frozen=True, slots=True)
class Round:
    """One simulated round: who took part, and the bytes of their frames together."""

    number: int
    cohort: tuple[str, ...]
    bytes_up: int


class Simulation:
    """A federation of ``devices`` that share one trainer; ``model`` is the newest.

    The same arguments give the same bits, whoever asks for how many rounds.
    """

    def __init__(
        self,
        devices: Sequence[SimulatedDevice],
        trainer: Trainer,
        *,
        manifest: Manifest,
        settings: Settings,
        initial: Vector | None = None,
    ) -> None:
        self._devices = {device.name: device for device in devices}
        self._trainer = trainer
        self._manifest = manifest
        self._norms: deque[History] = deque(maxlen=settings.guard.window - 1)
        self._settings = settings
        self._optimizer = optimizer_named(
            settings.optimizer,
            beta=settings.beta,
            learning_rate=settings.server_learning_rate,
        )
        start = first_params(
            devices, manifest=manifest, seed=settings.plan.seed, initial=initial
        )
        self.model: GlobalModel = first_model(
            manifest.layout, self._optimizer, seed=settings.plan.seed, initial=start
        )

    def round(self) -> Round:
        """Run one round; ``model`` is its outcome.

        Raises:
            TrainingError: A device's training diverged.
            EncodeError: The merged model is not finite.
        """
        settings = self._settings
        number = self.model.version + 1
        cohort = draw_cohort(
            self._devices,
            seed=settings.plan.seed,
            round_number=number,
            size=settings.cohort,
        )
        codec = codec_named(settings.codec)
        updates = [
            self._devices[name].update(
                self._trainer,
                self.model.held,
                manifest=self._manifest,
                plan=settings.plan,
                round_number=number,
                codec=codec,
            )
            for name in cohort
        ]
        self._merge(
            [
                Contribution(name, update)
                for name, update in zip(cohort, updates, strict=True)
            ]
        )
        return Round(number, cohort, sum(map(len, updates)))

    def _merge(self, contributions: Sequence[Contribution]) -> Guarded:
        """Merge as a server does that has kept the norms of earlier merges."""
        settings, layout = self._settings, self._manifest.layout
        momentum = self.model.momentum
        guarded = guarded_mean(
            contributions,
            size=layout.federated.size,
            guard=settings.guard,
            history=[told for merge in self._norms for told in merge],
            last_step=layout.gather(momentum) if momentum.size else None,
        )
        self._norms.append(guarded.norms)
        self.model, _ = advance(
            self.model,
            layout.spread(guarded.mean),
            optimizer=self._optimizer,
            codec=settings.downlink,
        )
        return guarded


def first_params(
    devices: Sequence[SimulatedDevice],
    *,
    manifest: Manifest,
    seed: int,
    initial: Vector | None = None,
) -> Vector:
    """Return version 0, ``[size]``: drawn, with the statistics of all devices."""
    layout = manifest.layout
    optimizer = optimizer_named("fedavg", beta=0.0, learning_rate=1.0)
    drawn = first_model(layout, optimizer, seed=seed, initial=initial).params
    if not channels_of(layout):
        return drawn
    told = (feature_statistics(device.examples.x) for device in devices)
    parts = moderated(
        [part for part in told if part is not None], cap=GuardSection().weight_cap
    )
    return standardized(drawn, layout, parts=parts)
