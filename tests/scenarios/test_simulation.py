"""The simulation is the product: the same federation, run as agents and a server."""

from pathlib import Path

import numpy as np

from broker_server.config import CodecSection, RoundSection
from edge_agent.examples import ExampleStore
from edge_agent.trainers.trainer import open_trainer
from model_zoo import zoo
from tests.scenarios.test_federation_in_memory import (
    ALL,
    MODEL,
    Rehearsal,
    digits,
    play,
)
from tools.simulation.devices import SimulatedDevice
from tools.simulation.federation import Settings, Simulation
from wire_protocol.messages import TrainingPlan

ROUNDS = 3


def test_a_simulation_makes_the_models_that_agents_and_a_server_make(
    tmp_path: Path,
) -> None:
    # as ``rehearsal`` configures server and agents; float32, for the agents' two
    # runtimes differ in the last bits, and a coarse codec would make much of that
    plan = TrainingPlan(
        epochs=2, learning_rate=0.05, momentum=0.9, mu=0.0, evaluate=True, seed=3
    )
    manifest = zoo.manifest(MODEL)

    async def scenario(going: Rehearsal) -> None:
        await going.ended()
        assert all(
            len(record.participants) == ALL for record in going.store.rounds()
        ), "somebody was late, and the simulation knows no late ones"
        devices = [
            SimulatedDevice(
                shard.name,
                ExampleStore.load(
                    tmp_path / shard.name / f"{shard.name}.npz", holdout=0.2, seed=1
                )
                .snapshot("")
                .training,
            )
            for shard in digits().shards
        ]
        simulation = Simulation(
            devices,
            open_trainer("litert", zoo.artifact_folder(MODEL), manifest=manifest),
            manifest=manifest,
            settings=Settings(plan, cohort=ALL, codec="f32", downlink="f32"),
        )
        assert np.array_equal(simulation.model.held, going.store.params(0))
        for version in range(1, ROUNDS + 1):
            simulation.round()
            made = going.store.params(version)
            assert np.abs(made - going.store.params(version - 1)).max() > 0.01
            np.testing.assert_allclose(simulation.model.held, made, atol=1e-4)

    play(
        tmp_path,
        scenario,
        rounds=RoundSection(rounds=ROUNDS, devices=ALL, minimum=ALL),
        codec=CodecSection("f32", "f32"),
    )
