"""Of what only a device has, and of what only a server has."""

from pathlib import Path

import pytest

from tests.tools.doctor.verdict_cases import Case
from tools.doctor.device_verdicts import (
    ExampleFacts,
    RuntimeFacts,
    judge_examples,
    judge_running,
    judge_runtimes,
)
from tools.doctor.server_verdicts import (
    ArtifactFacts,
    DatabaseFacts,
    ProgramFacts,
    judge_artifact,
    judge_broker_program,
    judge_database,
)

BROKEN = RuntimeFacts("litert", "ai-edge-litert", "not installed", {})
GOOD = RuntimeFacts("onnxruntime 1.32", "onnxruntime", "", {"digits-mlp": ""})
WRONG = RuntimeFacts("onnxruntime 1.32", "onnxruntime", "", {"digits-mlp": "loss 9"})


def _examples(training: int, *, growing: bool = False) -> ExampleFacts:
    return ExampleFacts("x.npz", training, holdout=5, least=10, growing=growing)


def _database(problem: str = "", *, log_mib: int = 1) -> DatabaseFacts:
    return DatabaseFacts(Path("/s/server.sqlite"), 2 << 20, log_mib << 20, problem)


CASES = [
    Case(
        "runtimes",
        judge_runtimes((BROKEN, GOOD)),
        "ok",
        "onnxruntime 1.32 works, and passes the self-test of digits-mlp",
    ),
    Case(
        "runtimes-none",
        judge_runtimes((BROKEN,)),
        "failed",
        "no runtime works here: litert: not installed",
        "pip install ai-edge-litert",
    ),
    Case(
        "runtimes-wrong",
        judge_runtimes((WRONG,)),
        "failed",
        "computes digits-mlp wrongly: loss 9",
        "pip install --upgrade onnxruntime",
    ),
    Case("examples", judge_examples(_examples(10)), "ok", "10 to train on and 5 held"),
    Case(
        "examples-few",
        judge_examples(_examples(9)),
        "failed",
        "10 are needed",
        "docs/examples.md",
    ),
    Case(
        "examples-yet",
        judge_examples(_examples(0, growing=True)),
        "warning",
        "10 are needed",
        "let the agent run",
    ),
    Case("idle", judge_running(held=False, what="agent"), "ok", "no agent is running"),
    Case("running", judge_running(held=True, what="agent"), "ok", "agent is running"),
    Case(
        "never-ran",
        judge_running(held=None, what="server"),
        "not measured",
        "no server has ever run",
    ),
    Case("database", judge_database(_database()), "ok", "whole; 2.0 MiB"),
    Case("database-none", judge_database(None), "not measured", "nothing yet"),
    Case(
        "database-damaged",
        judge_database(_database("page 7")),
        "failed",
        "is damaged: page 7",
        "server restore",
    ),
    Case(
        "database-log",
        judge_database(_database(log_mib=300)),
        "warning",
        "does not shrink",
        "fuser",
    ),
    Case(
        "artifact",
        judge_artifact(ArtifactFacts("m", ("tflite", "onnx"), 5000)),
        "ok",
        "m, 5,000 bytes, for tflite and onnx",
    ),
    Case(
        "artifact-half",
        judge_artifact(ArtifactFacts("m", ("onnx",), 5000)),
        "warning",
        "for onnx only",
        "edgefed zoo build",
    ),
    Case(
        "artifact-none",
        judge_artifact(ArtifactFacts("m", (), 5000)),
        "failed",
        "complete for no runtime",
        "edgefed zoo build",
    ),
    Case(
        "broker",
        judge_broker_program(
            ProgramFacts("/usr/sbin/mosquitto", "2.0.11", amqtt=True), wanted="auto"
        ),
        "ok",
        "mosquitto 2.0.11, /usr/sbin/mosquitto",
    ),
    Case(
        "broker-old",
        judge_broker_program(
            ProgramFacts("/usr/sbin/mosquitto", "1.6.9", amqtt=True), wanted="auto"
        ),
        "failed",
        "1.6.9 is too old",
        "apt install mosquitto",
    ),
    Case(
        "broker-amqtt",
        judge_broker_program(ProgramFacts("", "", amqtt=True), wanted="auto"),
        "warning",
        "for development",
        "apt install mosquitto",
    ),
    Case(
        "broker-amqtt-wanted",
        judge_broker_program(ProgramFacts("/m", "2.0", amqtt=True), wanted="amqtt"),
        "warning",
        "for development",
        'kind = "auto"',
    ),
    Case(
        "broker-none",
        judge_broker_program(ProgramFacts("", "", amqtt=False), wanted="auto"),
        "failed",
        "no broker is installed",
        "apt install mosquitto",
    ),
    Case(
        "broker-not-the-wanted",
        judge_broker_program(ProgramFacts("", "", amqtt=True), wanted="mosquitto"),
        "failed",
        "no broker is installed",
        "[broker] host",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_facts_have_their_verdict_and_remedy(case: Case) -> None:
    case.hold()
