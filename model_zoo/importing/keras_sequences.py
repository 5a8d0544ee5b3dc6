"""The layers of Keras for sequences: embeddings and gated recurrent units."""

import numpy as np

from model_zoo.importing.keras_given import Given, Made
from model_zoo.importing.network import CannotError, Value


def embedding(given: Given) -> Made:
    """Look a vector up for each token."""
    given.only("mask_zero", False)
    if len(given.shape) != 1:
        raise CannotError(f"its input has shape {list(given.shape)}")
    tokens, width = given.whole("input_dim"), given.whole("output_dim")
    weights = (given.kernel("vars/0", tokens, width),)
    return [given.op("embedding", tokens, width, weights=weights)]


def gru(given: Given) -> Made:
    """Run a gated recurrent unit over a sequence."""
    for key in ("return_state", "go_backwards", "stateful"):
        given.only(key, False)
    given.only("activation", "tanh")
    given.only("recurrent_activation", "sigmoid")
    given.only("reset_after", True)
    for key in ("dropout", "recurrent_dropout"):
        if given.number(key, 0.0):
            raise CannotError(f"{key} is not 0")
    if len(given.shape) != 2:
        raise CannotError(f"its input has shape {list(given.shape)}")
    units, inputs = given.whole("units"), given.shape[-1]
    if given.only("use_bias", True, False):
        bias = given.kernel("cell/vars/2", 2, 3 * units)
    else:
        bias = np.zeros((2, 3 * units), np.float32)
    weights = (
        given.kernel("cell/vars/0", inputs, 3 * units),
        given.kernel("cell/vars/1", units, 3 * units),
        bias,
    )
    options: dict[str, Value] = {}
    if given.only("return_sequences", False, True):
        options["sequences"] = True
    return [given.op("gru", units, weights=weights, **options)]
