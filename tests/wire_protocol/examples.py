"""One valid message of every kind, by name: the table every frame test uses."""

from typing import Final

from wire_protocol.blobs import BlobRef, Block, BlockList, Need
from wire_protocol.enrolment import (
    EnrolGrant,
    EnrolRefusal,
    EnrolRequest,
    JoinToken,
    RenewalCall,
)
from wire_protocol.errors import Reason
from wire_protocol.feature_statistics import FeatureStatistics
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

BLOB: Final = BlobRef("ab" * 32, 5000)
PLAN: Final = TrainingPlan(
    epochs=3, learning_rate=0.02, momentum=0.9, mu=0.0, evaluate=True, seed=7
)
UPDATE: Final = ClientUpdate(
    round=3,
    base="01" * 8,
    layout="23" * 8,
    codec="uq",
    num_examples=287,
    steps=27,
    loss=0.4375,
    train_s=0.25,
    bytes_down=5120,
    evaluation=Evaluation(examples=30, loss_sum=12.5, metric_sum=26.0),
)
EXAMPLES: Final[dict[str, Message]] = {
    "server info": ServerInfo(
        block_bytes=32768, window=8, model="har-cnn1d", resend_s=2.0, channels=6
    ),
    "check-in": CheckIn(
        conn=1,
        runtime="litert 2.3.0",
        family="tflite",
        codecs=("f32", "uq"),
        num_examples=287,
        busy=0,
    ),
    "check-in, with statistics": CheckIn(
        conn=2,
        runtime="onnxruntime 1.32",
        family="onnx",
        codecs=("uq",),
        num_examples=3,
        statistics=FeatureStatistics(3, (9.0, 0.0), (35.0, 0.5)),
    ),
    "round offer": RoundOffer(
        round=3,
        version=2,
        params="cd" * 32,
        layout="23" * 8,
        manifest=BLOB,
        keyframe=BlobRef("ef" * 32, 129_684),
        deltas=(DeltaRef(2, BlobRef("09" * 32, 4000)),),
        plan=PLAN,
        codec="uq",
        cohort=("pi-attic", "pi-kitchen"),
        budget_s=600.0,
        max_staleness=8,
    ),
    "need, two blocks": Need(BLOB, "5"),
    "need, three blocks and the hashes": Need(BLOB, "7", hashes=True),
    "block": Block(BLOB, index=1, count=7),
    "block list": BlockList(BLOB, block_bytes=1024, stride=1),
    "model delta": ModelDelta(version=2, codec="uq:1"),
    "client update": UPDATE,
    "client update, not evaluated": ClientUpdate(
        round=1,
        base="01" * 8,
        layout="23" * 8,
        codec="f32",
        num_examples=1,
        steps=1,
        loss=0.0,
        train_s=0.0,
        bytes_down=0,
        evaluation=None,
    ),
    "receipt": UpdateReceipt(round=3, transfer="45" * 8, reason=Reason.ACCEPTED),
    "abandoned": Abandoned(round=3, reason=Reason.BUDGET_SPENT),
    "join token": JoinToken(
        host="broker.local", port=8883, fleet="home", claim="claim.0a1b2c3d4e"
    ),
    "join token, for one device": JoinToken(
        host="192.168.1.5",
        port=8883,
        fleet="home",
        claim="claim.5f6071829a",
        device="kitchen",
    ),
    "enrol request": EnrolRequest(device="kitchen", hardware="Raspberry Pi 4"),
    "enrol grant": EnrolGrant(device="kitchen"),
    "enrol refusal": EnrolRefusal(device="kitchen", reason=Reason.CLAIM_OVER),
    "renewal call": RenewalCall(seconds_left=864_000),
}
