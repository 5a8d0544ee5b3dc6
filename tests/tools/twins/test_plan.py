"""What twins are built from; the twins themselves check their losses when they run."""

import numpy as np
import pytest

from model_zoo import zoo
from model_zoo.convolutions import conv1d, conv2d
from model_zoo.depthwise import depthwise_conv2d
from model_zoo.layers import frozen, personal
from model_zoo.model import Model
from model_zoo.norms import group_norm
from tools.twins.plan import KINDS, parts, settings

EACH = pytest.mark.parametrize("model", zoo.MODELS.values(), ids=zoo.MODELS)


@EACH
def test_every_layer_of_the_zoo_has_a_twin(model: Model) -> None:
    assert {layer.kind for layer in model.layers} <= KINDS


@EACH
def test_parts_share_out_all_parameters(model: Model) -> None:
    params = model.layout.initial(np.random.default_rng(0))
    plan = list(parts(model, params))
    tensors = [tensor for part in plan for tensor in part.tensors]
    assert np.array_equal(model.layout.join(tensors), params)
    assert plan[0].before == model.input_shape
    assert [part.before for part in plan[1:]] == [part.after for part in plan[:-1]]


def test_settings_are_what_a_layer_was_made_with() -> None:
    layer = conv2d(5, (3, 2), stride=2, padding="valid")
    for wrapped in (layer, frozen(layer), personal(layer)):
        found = settings(wrapped)
        assert (found["size"], found["padding"]) == ((3, 2), "valid")
    assert settings(group_norm(4))["groups"] == 4
    for layer in (conv1d(5, 4, stride=3), depthwise_conv2d((3, 3), stride=3)):
        assert settings(layer)["stride"] == 3


@EACH
def test_padding_is_told_wherever_windows_slide(model: Model) -> None:
    for part in parts(model, model.layout.initial(np.random.default_rng(0))):
        if "padding" in part.settings:
            assert len(part.padding) == len(part.before) - 1
