"""An arena: one federation with attackers in it, run with the product's functions.

Local training, codecs with error feedback, the guard, reputations and quarantine, the
server optimizer and the downlink are those that server and agents run.
"""

import contextlib
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from broker_server.aggregators import aggregated, weighted_mean
from broker_server.global_model import advance, first_model
from broker_server.guard import History, guarded_mean
from broker_server.guard_settings import GuardSection
from broker_server.reputation import Reputation, after_merge
from broker_server.sampling import draw_cohort
from broker_server.server_optimizers import optimizer_named
from broker_server.stored_cohort import Contribution, opened
from edge_agent.examples import Examples
from tools.quality.experiment import Experiment
from tools.robustness.attacks import Attack, Sight, attacked, claimed
from tools.robustness.tasks import PART, TASKS, Defence, codec_of, guard_of
from tools.simulation.devices import SimulatedDevice
from tools.simulation.federation import first_params
from wire_protocol.codecs import codec_named
from wire_protocol.errors import EncodeError, TrainingError
from wire_protocol.framing import expect, frame
from wire_protocol.messages import ClientUpdate, TrainingPlan
from wire_protocol.params import Vector

_ATTACKERS_STREAM = 9


@dataclass(frozen=True, slots=True, order=True)
class Cell:
    """One run."""

    task: str
    attack: Attack
    defence: Defence
    seed: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run gave.

    Attributes:
        accuracy: Of the last model.
        devices: In the federation.
        attackers: Of these.
        caught: Attackers that were ever put in quarantine.
        wronged: Honest devices that were.
        strikes: Most strikes that an honest device ever had.
        reasons: Why devices were put in quarantine, and how many for each.
    """

    accuracy: float
    devices: int
    attackers: int
    caught: int
    wronged: int
    strikes: float
    reasons: Mapping[str, int]


def run_cell(cell: Cell, *, environ: Mapping[str, str]) -> Outcome:
    """Run one cell from its seed.

    Raises:
        ConfigError: Data or model cannot be had.
        TrainingError: The runtime is missing.
    """
    return _Arena(cell, environ).outcome()


class _Arena:
    def __init__(self, cell: Cell, environ: Mapping[str, str]) -> None:
        task = TASKS[cell.task]
        self._cell, self._recipe = cell, task.recipe
        self._codec = codec_named(codec_of(cell.defence))
        self._guard = guard_of(cell.defence)
        found = Experiment.load(
            task.model, task.recipe, seed=cell.seed, environ=environ
        )
        self._experiment = found
        self._layout = found.manifest.layout
        names = sorted(device.name for device in found.devices)
        drawn = np.random.default_rng([cell.seed, _ATTACKERS_STREAM]).permutation(names)
        count = round(PART * len(names)) if cell.attack != "none" else 0
        self._attackers = frozenset(map(str, drawn[:count]))
        self._devices = {one.name: self._trained_on(one) for one in found.devices}
        self._plan = TrainingPlan(
            epochs=task.recipe.epochs,
            learning_rate=task.recipe.learning_rate,
            momentum=task.recipe.momentum,
            mu=task.recipe.mu,
            evaluate=False,
            seed=cell.seed,
        )
        self._optimizer = optimizer_named(
            task.recipe.optimizer,
            beta=task.recipe.beta,
            learning_rate=task.recipe.server_learning_rate,
        )
        start = first_params(
            found.devices,
            manifest=found.manifest,
            seed=cell.seed,
            initial=found.initial,
        )
        self._model = first_model(
            self._layout, self._optimizer, seed=cell.seed, initial=start
        )
        window = (self._guard or GuardSection()).window
        self._norms: deque[History] = deque(maxlen=window - 1)
        self._reputations: dict[str, Reputation] = {}
        self._strikes = 0.0

    def outcome(self) -> Outcome:
        with contextlib.suppress(TrainingError, EncodeError):  # the model is ruined
            for number in range(1, self._recipe.rounds + 1):
                self._round(number)
        judged = self._experiment.judge.judge(self._model.held)
        punished = [one for one in self._reputations.values() if one.quarantines]
        caught = sum(one.device in self._attackers for one in punished)
        reasons = [one.reason for one in punished]
        return Outcome(
            accuracy=float(judged) if np.isfinite(judged) else 0.0,
            devices=len(self._devices),
            attackers=len(self._attackers),
            caught=caught,
            wronged=len(punished) - caught,
            strikes=self._strikes,
            reasons={name: reasons.count(name) for name in sorted(set(reasons))},
        )

    def _trained_on(self, device: SimulatedDevice) -> SimulatedDevice:
        if self._cell.attack != "label flip" or device.name not in self._attackers:
            return device
        flipped = self._experiment.manifest.outputs - 1 - device.examples.y
        examples = Examples(device.examples.x, flipped.astype(np.int32))
        return SimulatedDevice(device.name, examples)

    def _round(self, number: int) -> None:
        barred = {
            one.device
            for one in self._reputations.values()
            if one.standing(number) == "quarantined"
        }
        cohort = draw_cohort(
            self._devices.keys() - barred,
            seed=self._cell.seed,
            round_number=number,
            size=self._recipe.cohort or len(self._devices),
        )
        frames = {
            name: self._devices[name].update(
                self._experiment.trainer,
                self._model.held,
                manifest=self._experiment.manifest,
                plan=self._plan,
                round_number=number,
                codec=self._codec,
            )
            for name in cohort
        }
        sent = self._attacked(frames, number)
        mean = self._merged([Contribution(name, sent[name]) for name in cohort], number)
        self._model, _ = advance(
            self._model,
            self._layout.spread(mean),
            optimizer=self._optimizer,
            codec=self._recipe.downlink,
        )

    def _attacked(self, frames: Mapping[str, bytes], number: int) -> dict[str, bytes]:
        """Return the frames that go out; an attacker keeps no residual."""
        attack = self._cell.attack
        attackers = [name for name in frames if name in self._attackers]
        if not attackers or attack == "label flip":
            return dict(frames)
        deltas = {name: self._delta(sent) for name, sent in frames.items()}
        honest = [deltas[name] for name in frames if name not in self._attackers]
        momentum = self._model.momentum
        sight = Sight(np.stack(honest), self._layout.gather(momentum))
        rng = np.random.default_rng([self._cell.seed, _ATTACKERS_STREAM, number])
        sent = dict(frames)
        for index, name in enumerate(attackers):
            delta = attacked(attack, deltas[name], sight, index=index, rng=rng)
            head, _ = expect(ClientUpdate, frames[name])
            told = replace(head, num_examples=claimed(attack, head.num_examples))
            sent[name] = frame(told, self._codec.encode(delta))
        return sent

    def _delta(self, sent: bytes) -> Vector:
        _, body = expect(ClientUpdate, sent)
        return self._codec.decode(body, self._layout.federated.size)

    def _merged(self, contributions: list[Contribution], number: int) -> Vector:
        size, momentum = self._layout.federated.size, self._model.momentum
        if self._guard is None:
            with opened(contributions, size=size) as stored:
                return aggregated(stored.cohort, weighted_mean())
        guarded = guarded_mean(
            contributions,
            size=size,
            guard=self._guard,
            history=[told for merge in self._norms for told in merge],
            last_step=self._layout.gather(momentum),
        )
        self._norms.append(guarded.norms)
        for one in after_merge(
            self._reputations.values(),
            guarded.assessments,
            number=number,
            guard=self._guard,
            least=1,
        ):
            self._reputations[one.device] = one
            if one.device not in self._attackers:
                self._strikes = max(self._strikes, one.strikes)
        return guarded.mean
