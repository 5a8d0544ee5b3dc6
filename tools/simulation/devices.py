"""Simulated devices: what each holds, and what it remembers between two rounds."""

from dataclasses import dataclass, field
from typing import Self

from edge_agent.examples import Examples, no_targets
from edge_agent.trainers.trainer import Trainer
from edge_agent.training import order_of_examples, train
from model_zoo.data.federation import Shard
from wire_protocol.blobs import SHORT_DIGEST
from wire_protocol.codecs import Codec
from wire_protocol.error_feedback import Sent, encode
from wire_protocol.framing import frame
from wire_protocol.manifest import Manifest
from wire_protocol.messages import ClientUpdate, TrainingPlan
from wire_protocol.params import ParamLayout, Vector


@dataclass(slots=True)
class SimulatedDevice:
    """One device.

    Attributes:
        name: Decides, with seed and round, the order of its examples.
        examples: All it trains on.
        residual: What its codec left out so far, shape ``[federated size]``.
        kept: Its last trained parameters, where some of them are personal.
    """

    name: str
    examples: Examples
    residual: Vector | None = field(default=None, repr=False)
    kept: Vector | None = field(default=None, repr=False)

    @classmethod
    def of(cls, shard: Shard) -> Self:
        """Return a device that holds ``shard``; a reconstruction needs no targets."""
        y = no_targets(len(shard.x)) if shard.y is None else shard.y
        return cls(shard.name, Examples(shard.x, y))

    def update(
        self,
        trainer: Trainer,
        held: Vector,
        *,
        manifest: Manifest,
        plan: TrainingPlan,
        round_number: int,
        codec: Codec,
    ) -> bytes:
        """Train from the global parameters ``held``; return the update's frame.

        Every update is taken to be counted: nothing is lost here.

        Raises:
            TrainingError: Training diverged.
            EncodeError: The delta is not finite.
        """
        layout = manifest.layout
        base = held if self.kept is None else with_personal(layout, held, self.kept)
        local = train(
            trainer,
            self.examples,
            base=base,
            plan=plan,
            batch=manifest.batch,
            seed=order_of_examples(plan, device=self.name, round_id=round_number),
        )
        if any(spec.personal for spec in layout.specs):
            self.kept = local.params
        sent = encode(
            layout.gather(local.params - base), residual=self.residual, codec=codec
        )
        counted = Sent(sent.meant, sent.payload, sent.codec, sent.fate.counted())
        self.residual = counted.residual()
        head = ClientUpdate(
            round=round_number,
            base="0" * SHORT_DIGEST,
            layout=layout.digest,
            codec=codec.name,
            num_examples=self.examples.count,
            steps=local.steps,
            loss=local.loss,
            train_s=0.0,
            bytes_down=0,
            evaluation=None,
        )
        return frame(head, sent.payload)


def with_personal(layout: ParamLayout, params: Vector, own: Vector) -> Vector:
    """Return ``params`` with the personal parameters of ``own``, both ``[size]``."""
    pairs = zip(layout.specs, layout.split(params), layout.split(own), strict=True)
    return layout.join([mine if spec.personal else all_ for spec, all_, mine in pairs])
