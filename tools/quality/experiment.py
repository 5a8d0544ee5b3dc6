"""One cell, run: federated, central or alone, by the product's own functions."""

import functools
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from broker_server.artifact import load_artifact
from edge_agent.examples import Examples, joined, shuffled
from edge_agent.trainers.trainer import Trainer, open_trainer
from edge_agent.training import train
from model_zoo import zoo
from model_zoo.data import catalog
from model_zoo.data.dataset import Dataset
from model_zoo.data.federation import federate
from model_zoo.data.skew import partition_named
from model_zoo.recipe import Recipe
from tools.judging import Judge, judge_of
from tools.quality.cells import Cell, Outcome, fingerprint
from tools.simulation.devices import SimulatedDevice
from tools.simulation.federation import Settings, Simulation, first_params
from wire_protocol.manifest import Manifest
from wire_protocol.messages import TrainingPlan
from wire_protocol.params import Vector

_POINTS = 10
"""How often a federation is judged on its way."""

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Experiment:
    """A federation ready to be trained in any of the three ways."""

    recipe: Recipe
    manifest: Manifest
    trainer: Trainer
    judge: Judge
    devices: tuple[SimulatedDevice, ...]
    test_examples: int
    seed: int
    initial: Vector | None

    @classmethod
    def load(
        cls, model: str, recipe: Recipe, *, seed: int, environ: Mapping[str, str]
    ) -> Self:
        """Load data and model.

        Raises:
            ConfigError: One of them cannot be had.
            TrainingError: The recipe's runtime is not installed.
        """
        manifest, artifact = zoo.manifest(model), zoo.artifact_folder(model)
        federation = federate(
            _dataset(recipe.data, seed, tuple(sorted(environ.items()))),
            seed=seed,
            devices=recipe.devices or None,
            partition=partition_named(recipe.partition) if recipe.partition else None,
            unseen=recipe.judging == "unseen",
        )
        trainer = open_trainer(recipe.runtime, artifact, manifest=manifest)
        judge = judge_of(
            federation,
            manifest=manifest,
            trainer=trainer,
            runtime=recipe.runtime,
            artifact=artifact,
        )
        return cls(
            recipe=recipe,
            manifest=manifest,
            trainer=trainer,
            judge=judge,
            devices=tuple(map(SimulatedDevice.of, federation.shards)),
            test_examples=len(federation.test_y),
            seed=seed,
            initial=load_artifact(artifact).initial,
        )

    def federated(
        self, progress: Progress, *, keep: Callable[[Vector], None]
    ) -> Outcome:
        """Run all rounds; the last model counts, not the best one, and is kept."""
        recipe = self.recipe
        simulation = Simulation(
            self.devices,
            self.trainer,
            manifest=self.manifest,
            settings=Settings(
                plan=self._plan(recipe.epochs, mu=recipe.mu),
                cohort=recipe.cohort or len(self.devices),
                optimizer=recipe.optimizer,
                beta=recipe.beta,
                server_learning_rate=recipe.server_learning_rate,
                codec=recipe.codec,
                downlink=recipe.downlink,
            ),
            initial=self.initial,
        )
        curve: list[tuple[int, float]] = []
        bytes_up = updates = 0
        every = max(1, recipe.rounds // _POINTS)
        for number in range(1, recipe.rounds + 1):
            done = simulation.round()
            bytes_up += done.bytes_up
            updates += len(done.cohort)
            if number % every == 0 or number == recipe.rounds:
                quality = self.judge.judge(simulation.model.held)
                curve.append((number, quality))
                progress(f"round {number}: {quality:.4f}")
        keep(simulation.model.held)
        bits = 8 * bytes_up / (updates * self.manifest.layout.federated.size)
        return replace(
            self._outcome(curve[-1][1]), curve=tuple(curve), bits_up=round(bits, 3)
        )

    def central(self, progress: Progress) -> Outcome:
        """Train on the examples of all devices in one place."""
        everything = joined([device.examples for device in self.devices])
        quality = self._trained(
            everything, start=self._start(), epochs=self.recipe.central_epochs
        )
        progress(f"central: {quality:.4f}")
        return self._outcome(quality)

    def local(self, progress: Progress) -> Outcome:
        """Train every device alone, or as many as the recipe wants."""
        order = shuffled(len(self.devices), random.Random(self.seed))  # noqa: S311 - a sample, no secret
        sample = sorted(order[: self.recipe.local_devices or None])
        start, alone = self._start(), []
        for count, index in enumerate(sample, start=1):
            examples = self.devices[index].examples
            alone.append(
                self._trained(examples, start=start, epochs=self.recipe.local_epochs)
            )
            if count % 10 == 0 or count == len(sample):
                progress(f"{count} of {len(sample)} alone: {np.mean(alone):.4f}")
        return replace(self._outcome(float(np.mean(alone))), alone=tuple(alone))

    def _start(self) -> Vector:
        return first_params(
            self.devices, manifest=self.manifest, seed=self.seed, initial=self.initial
        )

    def _trained(self, examples: Examples, *, start: Vector, epochs: int) -> float:
        local = train(
            self.trainer,
            examples,
            base=start,
            plan=self._plan(epochs),
            batch=self.manifest.batch,
            seed=self.seed,
        )
        return self.judge.judge(local.params)

    def _plan(self, epochs: int, *, mu: float = 0.0) -> TrainingPlan:
        return TrainingPlan(
            epochs=epochs,
            learning_rate=self.recipe.learning_rate,
            momentum=self.recipe.momentum,
            mu=mu,
            evaluate=False,
            seed=self.seed,
        )

    def _outcome(self, quality: float) -> Outcome:
        return Outcome(
            quality=quality,
            curve=(),
            alone=(),
            bits_up=0.0,
            devices=len(self.devices),
            training_examples=sum(device.examples.count for device in self.devices),
            test_examples=self.test_examples,
            parameters=self.manifest.layout.size,
            seconds=0.0,
            fingerprint="",
        )


def run_cell(
    cell: Cell,
    recipe: Recipe,
    *,
    environ: Mapping[str, str],
    clock: Callable[[], float],
    progress: Progress = lambda _: None,
    keep: Callable[[Vector], None] = lambda _: None,
) -> Outcome:
    """Run one cell from its seed.

    Args:
        cell: Which one.
        recipe: Its settings.
        environ: Says where data sets are.
        clock: Tells seconds, of the CPU for instance.
        progress: Told how far it is.
        keep: Takes the parameters that a federation ended with.

    Raises:
        ConfigError: Data or model cannot be had.
        TrainingError: Training diverged, or the runtime failed.
    """
    began = clock()
    experiment = Experiment.load(cell.model, recipe, seed=cell.seed, environ=environ)
    match cell.kind:
        case "federated":
            outcome = experiment.federated(progress, keep=keep)
        case "central":
            outcome = experiment.central(progress)
        case "local":
            outcome = experiment.local(progress)
    return replace(
        outcome,
        seconds=round(clock() - began, 1),
        fingerprint=fingerprint(cell.kind, recipe, experiment.manifest),
    )


@functools.lru_cache(maxsize=1)
def _dataset(name: str, seed: int, environ: tuple[tuple[str, str], ...]) -> Dataset:
    return catalog.load(name, seed=seed, environ=dict(environ))
