"""Offers for tests that need one and do not care what it says."""

from wire_protocol.blobs import BlobRef
from wire_protocol.messages import DeltaRef, RoundOffer, TrainingPlan

PLAN = TrainingPlan(
    epochs=2, learning_rate=0.05, momentum=0.9, mu=0.0, evaluate=True, seed=7
)


def offer_of(
    number: int, *, version: int = 3, deltas: tuple[DeltaRef, ...] = ()
) -> RoundOffer:
    """Return an offer of round ``number`` to devices a and b."""
    return RoundOffer(
        round=number,
        version=version,
        params="0" * 64,
        layout="1" * 16,
        manifest=BlobRef("2" * 64, 100),
        keyframe=BlobRef("3" * 64, 1000),
        deltas=deltas,
        plan=PLAN,
        codec="uq",
        cohort=("a", "b"),
        budget_s=60.0,
        max_staleness=0,
    )
