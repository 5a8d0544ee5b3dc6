"""The held model: deltas where they suffice, the keyframe otherwise."""

from dataclasses import replace

import numpy as np
import pytest

from edge_agent.model import (
    HeldModel,
    checked,
    from_keyframe,
    missing_deltas,
    with_delta,
)
from tests.edge_agent.offers import offer_of
from wire_protocol.blobs import BlobRef
from wire_protocol.codecs import codec_named
from wire_protocol.errors import DecodeError, Reason
from wire_protocol.framing import frame
from wire_protocol.messages import Abandoned, DeltaRef, ModelDelta
from wire_protocol.params import params_digest


def delta_ref(version: int, *, size: int = 10) -> DeltaRef:
    return DeltaRef(version, BlobRef(f"{version:064x}", size))


def held(version: int) -> HeldModel:
    params = np.zeros(4, np.float32)
    return HeldModel(version, params, params_digest(params))


DELTAS = tuple(delta_ref(version) for version in (1, 2, 3))
CASES: dict[str, tuple[HeldModel | None, tuple[DeltaRef, ...], list[int] | None]] = {
    "nothing held": (None, DELTAS, None),
    "one behind": (held(2), DELTAS, [3]),
    "three behind": (held(0), DELTAS, [1, 2, 3]),
    "one not listed": (held(0), DELTAS[1:], None),
    "none listed": (held(2), (), None),
    "ahead of the server": (held(9), DELTAS, None),
    "same version, other parameters": (held(3), DELTAS, None),
    "deltas as large as the keyframe": (
        held(1),
        (delta_ref(2, size=500), delta_ref(3, size=500)),
        None,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_deltas_are_taken_when_they_lead_there_and_are_smaller(name: str) -> None:
    model, deltas, expected = CASES[name]
    missing = missing_deltas(model, offer_of(1, version=3, deltas=deltas))
    versions = None if missing is None else [delta.version for delta in missing]
    assert versions == expected


def test_nothing_is_fetched_for_parameters_that_are_here() -> None:
    model = held(7)
    assert missing_deltas(model, replace(offer_of(1), params=model.digest)) == []


def test_a_delta_is_added_as_it_is_on_every_machine() -> None:
    step = np.array([0.1, -0.2, 0.3, 0.0], np.float32)
    payload = codec_named("uq:1").encode(step)
    params = np.ones(4, np.float32)
    moved = with_delta(params, frame(ModelDelta(4, "uq:1"), payload), version=4)
    expected = params + codec_named("uq:1").decode(payload, 4)
    assert moved.tobytes() == expected.tobytes()
    assert params.tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        frame(ModelDelta(5, "f32"), bytes(16)),
        frame(ModelDelta(4, "f32"), bytes(15)),
        frame(ModelDelta(4, "mp3"), bytes(16)),
        frame(Abandoned(4, Reason.LEAVING)),
    ],
    ids=["nothing", "another version", "too short", "no codec", "another message"],
)
def test_a_wrong_delta_is_refused(raw: bytes) -> None:
    with pytest.raises(DecodeError):
        with_delta(np.zeros(4, np.float32), raw, version=4)


def test_a_keyframe_has_the_right_size_and_is_finite() -> None:
    params = np.arange(4, dtype=np.float32)
    assert from_keyframe(params.tobytes(), size=4).tolist() == [0, 1, 2, 3]
    with pytest.raises(DecodeError) as caught:
        from_keyframe(params.tobytes(), size=5)
    assert caught.value.reason is Reason.WRONG_SCHEMA
    with pytest.raises(DecodeError) as caught:
        from_keyframe((params * np.float32(np.nan)).tobytes(), size=4)
    assert caught.value.reason is Reason.NOT_FINITE


def test_parameters_with_another_digest_are_refused() -> None:
    model = held(3)
    offer = replace(offer_of(1), params=model.digest)
    assert checked(model.params, offer).version == 3
    with pytest.raises(DecodeError, match="digest"):
        checked(model.params + np.float32(1), offer)
