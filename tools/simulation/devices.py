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
from wire_protocol.params import Vector


@dataclass(slots=True)
class SimulatedDevice:
    """One device.

    Attributes:
        name: Decides, with seed and round, the order of its examples.
        examples: All it trains on.
        residual: What its codec left out so far, shape ``[federated size]``.
        own: Its personal parameters as it last trained them, if the model has any.
    """

    name: str
    examples: Examples
    residual: Vector | None = field(default=None, repr=False)
    own: Vector | None = field(default=None, repr=False)

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
        base = held if self.own is None else layout.scatter_personal(held, self.own)
        local = train(
            trainer,
            self.examples,
            base=base,
            plan=plan,
            batch=manifest.batch,
            seed=order_of_examples(plan, device=self.name, round_id=round_number),
        )
        own = layout.gather_personal(local.params)
        self.own = own if own.size else None
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
