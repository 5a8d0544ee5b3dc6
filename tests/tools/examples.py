"""A small demo's outcome, and what it was made from."""

from typing import Final

from model_zoo.metrics import METRICS
from tools.demo.outcome import Baselines, DemoOutcome, DeviceOutcome, RoundOutcome
from tools.demo.plan import DemoPlan

PLAN: Final = DemoPlan(
    data="digits",
    model="digits-mlp",
    rounds=2,
    epochs=5,
    learning_rate=0.1,
    momentum=0.0,
    partition="iid",
)


def round_outcome(number: int, quality: float) -> RoundOutcome:
    return RoundOutcome(
        round=number,
        version=number,
        quality=quality,
        participants=("device-01", "device-02"),
        runtimes=("litert 2.3.0", "onnxruntime 1.32.0"),
        loss=0.5,
        bytes_up=2_000,
        bytes_down=8_000,
        seconds=0.5,
        overhead_seconds=0.05 * number,
        refused={"malformed": 1},
    )


def device_outcome(name: str) -> DeviceOutcome:
    return DeviceOutcome(
        name=name,
        runtime="litert 2.3.0",
        num_examples=100,
        rounds=2,
        bytes_sent=4_000,
        bytes_received=40_000,
        rss_mib=52.5,
        local_quality=0.5,
    )


OUTCOME: Final = DemoOutcome(
    plan=PLAN,
    metric=METRICS["classification"],
    parameters=10_000,
    test_examples=359,
    rounds=(round_outcome(1, 0.7), round_outcome(2, 0.9)),
    devices=(device_outcome("device-01"), device_outcome("device-<02>")),
    baselines=Baselines(central=0.95, local=(0.4, 0.6)),
    seconds=12.0,
)
