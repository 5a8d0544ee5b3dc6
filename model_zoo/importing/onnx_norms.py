"""The normalizations of ONNX that have a counterpart here."""

import numpy as np

from model_zoo.importing.folding import batch_norm
from model_zoo.importing.network import CannotError, Value, epsilon_option
from model_zoo.importing.onnx_given import Given, Made


def batch_normalization(given: Given) -> Made:
    """Take what was learned of the training set: a scale and an offset."""
    layout = given.layout
    if not layout.is_channels_first and layout.axes != (0,):
        raise CannotError(f"its input is {layout.shape}")
    given.only("training_mode", 0)
    parts = [layout.ours(given.weights(place)) for place in range(1, 5)]
    if any(part.shape != layout.shape[-1:] for part in parts):
        raise CannotError("it has not one value for each channel")
    made = batch_norm(
        gamma=parts[0],
        beta=parts[1],
        mean=parts[2],
        variance=parts[3],
        epsilon=given.number("epsilon", 1e-5),
        source=given.node.name,
    )
    return [made], layout


def layer_normalization(given: Given) -> Made:
    """Normalize over the channels of each place."""
    layout = given.layout
    rank = len(layout.shape)
    if given.whole("axis", -1) not in (-1, rank) or layout.axes[-1:] != (rank - 1,):
        raise CannotError("it is not over the channels alone")
    scale = given.weights(1)
    offset = given.weights_or_zeros(2, *scale.shape)
    if scale.shape != layout.shape[-1:] or offset.shape != scale.shape:
        raise CannotError("it has not one value for each channel")
    weights = (layout.ours(scale), layout.ours(offset))
    return [given.op("layer_norm", weights=weights, **_epsilon(given))], layout


def group_normalization(given: Given) -> Made:
    """Normalize over groups of channels."""
    given.layout.need_channels_first()
    channels, groups = given.layout.shape[-1], given.whole("num_groups", 0)
    if groups < 1 or channels % groups:
        raise CannotError(f"{channels} channels are not {groups} groups")
    weights = tuple(
        # before opset 21 there was one value for each group
        np.repeat(values, channels // groups) if values.size == groups else values
        for values in (given.weights(1).reshape(-1), given.weights(2).reshape(-1))
    )
    if any(values.shape != (channels,) for values in weights):
        raise CannotError("it has not one value for each channel")
    made = given.op("group_norm", groups, weights=weights, **_epsilon(given))
    return [made], given.layout


def _epsilon(given: Given) -> dict[str, Value]:
    # the file has it in float32: 1e-5 is not quite that
    return epsilon_option(float(f"{given.number('epsilon', 1e-5):.6g}"))
