"""Valid messages, the seeds of whatever is mutated."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from wire_protocol.blobs import BlobRef, Block, BlockList, Need
from wire_protocol.codecs import codec_named
from wire_protocol.cutting import Listing, cut
from wire_protocol.enrolment import (
    EnrolGrant,
    EnrolRefusal,
    EnrolRequest,
    JoinToken,
    RenewalCall,
)
from wire_protocol.errors import Reason
from wire_protocol.feature_statistics import FeatureStatistics
from wire_protocol.framing import frame
from wire_protocol.messages import (
    Abandoned,
    CheckIn,
    ClientUpdate,
    DeltaRef,
    Evaluation,
    Message,
    ModelDelta,
    RoundOffer,
    ServerInfo,
    TrainingPlan,
    UpdateReceipt,
)

SIZE: Final = 50
"""Parameters of the model that these are about."""
BLOCK_BYTES: Final = 1024
DEVICES: Final = ("kitchen", "attic")
REF: Final = BlobRef("ab" * 32, 5000)
STATISTICS: Final = FeatureStatistics(3, (9.0, 0.0), (35.0, 0.5))
OFFER: Final = RoundOffer(
    round=3,
    version=2,
    params="cd" * 32,
    layout="23" * 8,
    manifest=REF,
    keyframe=BlobRef("ef" * 32, 4 * SIZE),
    deltas=(DeltaRef(2, BlobRef("09" * 32, 4000)),),
    plan=TrainingPlan(
        epochs=3, learning_rate=0.02, momentum=0.9, mu=0.0, evaluate=True, seed=7
    ),
    codec="uq",
    cohort=DEVICES,
    budget_s=600.0,
    max_staleness=8,
)
UPDATE: Final = ClientUpdate(
    round=OFFER.round,
    base=OFFER.params[:16],
    layout=OFFER.layout,
    codec=OFFER.codec,
    num_examples=287,
    steps=27,
    loss=0.4375,
    train_s=0.25,
    bytes_down=5120,
    evaluation=Evaluation(examples=30, loss_sum=12.5, metric_sum=26.0),
)
DELTA: Final = np.linspace(-1, 1, SIZE, dtype=np.float32)
UPDATE_FRAME: Final = frame(UPDATE, codec_named(UPDATE.codec).encode(DELTA))
DELTA_FRAME: Final = frame(ModelDelta(2, "uq:1"), codec_named("uq:1").encode(DELTA))
CHECK_IN: Final = CheckIn(1, "litert 2.3.0", "tflite", ("f32", "uq"), 287)

MESSAGES: Final[Sequence[Message]] = (
    ServerInfo(32768, 8, "har-cnn1d", 2.0, 6),
    CHECK_IN,
    CheckIn(2, "onnxruntime", "onnx", ("uq",), 3, statistics=STATISTICS),
    OFFER,
    Need(REF, "5"),
    Need(REF, "", hashes=True),
    Block(REF, index=1, count=7),
    BlockList(REF, block_bytes=BLOCK_BYTES, stride=1),
    ModelDelta(2, "uq:1"),
    UPDATE,
    UpdateReceipt(3, "45" * 8, Reason.ACCEPTED),
    Abandoned(3, Reason.BUDGET_SPENT),
    JoinToken("broker.local", 8883, "home", "claim.0a1b2c3d4e"),
    EnrolRequest("kitchen", "Raspberry Pi 4"),
    EnrolGrant("kitchen"),
    EnrolRefusal("kitchen", Reason.CLAIM_OVER),
    RenewalCall(864_000),
)
"""One of every kind; a test sees to it."""
FRAMES: Final = tuple(frame(message, bytes(range(64))) for message in MESSAGES)

BLOB: Final = bytes(range(256)) * 60
LISTING: Final = Listing.of(BLOB, block_bytes=BLOCK_BYTES)
BLOCKS: Final = tuple(cut(BLOB, block_bytes=BLOCK_BYTES)[1])
"""A blob, its list of hashes, and the frames of its blocks."""
