"""One demo from data to outcome: federate, run, judge, compare."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from broker_server.store import Store
from edge_agent.examples import ExampleStore
from edge_agent.probe import probe
from edge_agent.runtimes import RUNTIMES, RuntimeName
from edge_agent.trainers.trainer import Trainer, open_trainer
from model_zoo import zoo
from model_zoo.data import catalog
from model_zoo.data.federation import Federation, federate
from model_zoo.data.skew import Dirichlet, partition_named
from model_zoo.metrics import METRICS
from tools.demo.baselines import compare
from tools.demo.display import Display
from tools.demo.federation_run import Watched, run_federation
from tools.demo.judging import Jury
from tools.demo.outcome import Baselines, DemoOutcome, DeviceOutcome, RoundOutcome
from tools.demo.plan import DemoPlan
from tools.demo.workspace import HOLDOUT, Workspace
from tools.judging import Judge, check_fit, judge_of
from wire_protocol.errors import TrainingError
from wire_protocol.manifest import Manifest
from wire_protocol.messages import TrainingPlan


@dataclass(frozen=True, slots=True)
class Subject:
    """What a demo is about: the data, spread over devices, and the model."""

    federation: Federation
    artifact: Path
    manifest: Manifest

    @classmethod
    def load(cls, plan: DemoPlan, *, environ: Mapping[str, str]) -> "Subject":
        """Load data and model, and see that they fit.

        Raises:
            ConfigError: One is unknown or cannot be had, or they do not fit.
        """
        manifest = zoo.manifest(plan.model)
        dataset = catalog.load(plan.data, seed=plan.seed, environ=environ)
        suits = catalog.entry(plan.data).default_model
        check_fit(
            dataset,
            manifest,
            remedy=f"try --model {suits}" if suits else "see edgefed zoo list",
        )
        federation = federate(
            dataset,
            seed=plan.seed,
            devices=plan.devices,
            partition=partition_named(plan.partition) if plan.partition else None,
            alpha=plan.alpha,
            shift=plan.shift,
            unseen=plan.unseen,
        )
        return cls(federation, zoo.artifact_folder(plan.model), manifest)

    def judge(self, trainer: Trainer, *, runtime: RuntimeName) -> Judge:
        """Return how well parameters do on the examples that no device holds."""
        return judge_of(
            self.federation,
            manifest=self.manifest,
            trainer=trainer,
            runtime=runtime,
            artifact=self.artifact,
        )


async def run_demo(
    plan: DemoPlan,
    subject: Subject,
    *,
    folder: Path,
    runtimes: Sequence[RuntimeName],
    display: Display,
    broker_kind: Literal["auto", "mosquitto", "amqtt"] = "auto",
) -> DemoOutcome:
    """Run the federation, then what it is compared with.

    Args:
        plan: What to run.
        subject: Data and model.
        folder: Made for this demo; keeps configurations, logs and the server's state.
        runtimes: Working runtimes; they alternate over the devices.
        display: Shows what happens.
        broker_kind: Which broker to start.

    Raises:
        EdgefedError: A process stopped early, or the broker did not start.
    """
    workspace = Workspace.create(folder, subject.federation.shards, runtimes=runtimes)
    # the last is ONNX Runtime where it works: it says nothing into the display
    trainer = open_trainer(runtimes[-1], subject.artifact, manifest=subject.manifest)
    judge = subject.judge(trainer, runtime=runtimes[-1])
    jury = Jury(workspace.server_state, judge, tell=display.judged)
    display.begin()
    try:
        display.say(f"starting {len(workspace.devices)} devices")
        watched = await run_federation(
            workspace,
            plan,
            display=display,
            on_version=jury.version_made,
            broker_kind=broker_kind,
        )
        display.say("judging")
        rounds = await jury.verdicts()
        baselines = None
        if plan.compare:
            baselines = await asyncio.to_thread(
                _compare, plan, workspace, subject, trainer, judge, display.say
            )
        display.say(f"done in {watched.seconds:.0f} s")
    finally:
        jury.close()
        display.end()
    return _outcome(plan, subject, watched, rounds, baselines)


async def working_runtimes() -> list[RuntimeName]:
    """Return the runtimes that work here, the best of each family.

    Raises:
        TrainingError: None does.
    """
    findings = await asyncio.gather(*(probe(runtime) for runtime in RUNTIMES.values()))
    best: dict[str, RuntimeName] = {}
    for finding in findings:
        if not finding.problem:
            best.setdefault(finding.runtime.family, finding.runtime.name)
    if not best:
        raise TrainingError(
            "no runtime works here: "
            + "; ".join(f"{finding.label}: {finding.problem}" for finding in findings),
            remedy="pip install ai-edge-litert onnxruntime",
        )
    return list(best.values())


def _compare(
    plan: DemoPlan,
    workspace: Workspace,
    subject: Subject,
    trainer: Trainer,
    judge: Judge,
    progress: Callable[[str], None],
) -> Baselines:
    with Store.open(workspace.server_state, readonly=True) as store:
        start = store.params(0)
        rounds = store.versions()[-1].version
    # the examples each device trained on, without those it held out
    devices = [
        ExampleStore.load(device.examples, holdout=HOLDOUT, seed=plan.seed).training
        for device in workspace.devices
    ]
    training = TrainingPlan(
        epochs=rounds * plan.epochs,
        learning_rate=plan.learning_rate,
        momentum=plan.momentum,
        mu=0.0,
        evaluate=False,
        seed=plan.seed,
    )
    return compare(
        trainer,
        start,
        devices=devices,
        plan=training,
        batch=subject.manifest.batch,
        judge=judge,
        progress=progress,
    )


def _outcome(
    plan: DemoPlan,
    subject: Subject,
    watched: Watched,
    rounds: tuple[RoundOutcome, ...],
    baselines: Baselines | None,
) -> DemoOutcome:
    devices = []
    for number, shard in enumerate(subject.federation.shards):
        state = watched.fleet.devices[shard.name]
        devices.append(
            DeviceOutcome(
                name=shard.name,
                runtime=state.runtime,
                num_examples=state.num_examples,
                rounds=sum(shard.name in entry.participants for entry in rounds),
                bytes_sent=state.bytes_sent,
                bytes_received=state.bytes_received,
                rss_mib=state.rss_mib,
                local_quality=baselines.local[number] if baselines else None,
            )
        )
    spread = subject.federation.partition
    return DemoOutcome(
        plan=replace(
            plan,
            partition=str(spread),
            alpha=spread.alpha if isinstance(spread, Dirichlet) else None,
        ),
        metric=METRICS[subject.manifest.task],
        parameters=subject.manifest.layout.size,
        test_examples=len(subject.federation.test_y),
        rounds=rounds,
        devices=tuple(devices),
        baselines=baselines,
        seconds=watched.seconds,
    )
