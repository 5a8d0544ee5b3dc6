"""The normalizations of Keras that have a counterpart here."""

import numpy as np

from model_zoo.importing.folding import batch_norm
from model_zoo.importing.keras_given import Array, Given, Made
from model_zoo.importing.network import CannotError, Value, epsilon_option


def batch_normalization(given: Given) -> Made:
    """Take what was learned of the training set: a scale and an offset."""
    _check_last_axis(given)
    channels = given.shape[-1]
    gamma, beta = _scale_and_offset(given)
    number = sum(given.only(key, True, False) for key in ("scale", "center"))
    return [
        batch_norm(
            gamma=gamma,
            beta=beta,
            mean=given.kernel(f"vars/{number}", channels),
            variance=given.kernel(f"vars/{number + 1}", channels),
            epsilon=given.number("epsilon", 1e-3),
            source=given.name,
        )
    ]


def layer_normalization(given: Given) -> Made:
    """Normalize over the channels of each place."""
    _check_last_axis(given)
    given.only("rms_scaling", False)
    weights = _scale_and_offset(given)
    return [given.op("layer_norm", weights=weights, **_epsilon(given))]


def group_normalization(given: Given) -> Made:
    """Normalize over groups of channels."""
    _check_last_axis(given)
    groups = given.config.get("groups")
    groups = given.shape[-1] if groups == -1 else given.whole("groups")
    weights = _scale_and_offset(given)
    return [given.op("group_norm", groups, weights=weights, **_epsilon(given))]


def _epsilon(given: Given) -> dict[str, Value]:
    return epsilon_option(given.number("epsilon", 1e-3))


def _scale_and_offset(given: Given) -> tuple[Array, Array]:
    channels, number, parts = given.shape[-1], 0, []
    for key, missing in (("scale", 1), ("center", 0)):
        if given.only(key, True, False):
            parts.append(given.kernel(f"vars/{number}", channels))
            number += 1
        else:
            parts.append(np.full(channels, missing, np.float32))
    return parts[0], parts[1]


def _check_last_axis(given: Given) -> None:
    axis, rank = given.config.get("axis", -1), len(given.shape)
    if axis not in (-1, rank, [-1], [rank]):
        raise CannotError(f"axis {axis!r:.20} is not the last")
