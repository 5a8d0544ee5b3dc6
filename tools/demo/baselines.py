"""What the federation is compared with: training alone, and training centrally.

Both run the same model from the same start for as many local epochs as a device was
given, through the same trainer, and are judged on the same examples.
"""

from collections.abc import Callable, Sequence

from edge_agent.examples import Examples, joined
from edge_agent.trainers.trainer import Trainer
from edge_agent.training import train
from tools.demo.outcome import Baselines
from tools.judging import Judge
from wire_protocol.messages import TrainingPlan
from wire_protocol.params import Vector


def compare(
    trainer: Trainer,
    start: Vector,
    *,
    devices: Sequence[Examples],
    plan: TrainingPlan,
    batch: int,
    judge: Judge,
    progress: Callable[[str], None],
) -> Baselines:
    """Train each of ``devices`` alone, then all of their examples in one place.

    Args:
        trainer: Runs the steps.
        start: The federation's version 0, shape ``[size]``.
        devices: Training examples of every device.
        plan: Its epochs are those of the whole federation together.
        batch: Batch size of the artifact.
        judge: What the models are compared by.
        progress: Told what is being trained.

    Raises:
        TrainingError: Training diverged.
    """

    def judged(examples: Examples) -> float:
        model = train(
            trainer, examples, base=start, plan=plan, batch=batch, seed=plan.seed
        )
        return judge.judge(model.params)

    local = []
    for number, examples in enumerate(devices, start=1):
        progress(f"training device {number} of {len(devices)} alone")
        local.append(judged(examples))
    progress("training centrally on all examples")
    return Baselines(judged(joined(devices)), tuple(local))
