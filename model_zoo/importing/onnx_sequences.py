"""The operators of ONNX for sequences: looking tokens up, and gated recurrent units."""

import numpy as np

from model_zoo.importing.network import CannotError, Value
from model_zoo.importing.onnx_file import OnnxNode
from model_zoo.importing.onnx_given import Given, Made
from model_zoo.importing.onnx_layout import Layout


def gather(given: Given) -> Made:
    """Look a vector up for each token."""
    given.only("axis", 0)
    table = given.weights(0)
    if table.ndim != 2 or 0 in table.shape or len(given.layout.shape) != 1:
        raise CannotError("it does not look up a vector for each token")
    made = given.op("embedding", *table.shape, weights=(table,))
    return [made], Layout.same((*given.layout.shape, table.shape[1]))


def gru(given: Given) -> Made:
    """Run a gated recurrent unit over a sequence; see ``onnx_patterns`` for its ends.

    ONNX orders gates as Keras does: update, reset, candidate.
    """
    layout = given.layout
    if layout.axes != (0, 1):
        raise CannotError(f"its input is {layout.shape}, not a sequence")
    length, inputs = layout.shape
    last = given.whole("last", 0)
    if last and given.whole("place", -1) not in (-1, length - 1):
        raise CannotError("it ends in a state between, not in the last")
    _check_usual(given)
    kernel, recurrent = given.weights(1), given.weights(2)
    units = recurrent.shape[-1] if recurrent.ndim else 0
    bias = given.weights_or_zeros(3, 1, 6 * units)
    for array, sides in (
        (kernel, (3 * units, inputs)),
        (recurrent, (3 * units, units)),
        (bias, (6 * units,)),
    ):
        if array.shape != (1, *sides) or not units:
            raise CannotError(f"has weights {list(array.shape)}, not {[1, *sides]}")
    weights = (
        np.ascontiguousarray(kernel[0].T),
        np.ascontiguousarray(recurrent[0].T),
        bias.reshape(2, 3 * units),
    )
    options: dict[str, Value] = {} if last else {"sequences": True}
    after = Layout.same((units,) if last else (length, units))
    return [given.op("gru", units, weights=weights, **options)], after


def check_ends(node: OnnxNode) -> None:
    """Raise ``CannotError`` unless a unit begins and ends as the layer here does."""
    if "last" not in node.attributes:
        raise CannotError("it does not go from batches to all states or to the last")
    if any(node.takes[4:]):
        raise CannotError("it has lengths, or a first state that is not 0")


def _check_usual(given: Given) -> None:
    """Raise ``CannotError`` unless it computes what the layer here does."""
    given.only("direction", "forward")
    given.only("linear_before_reset", 1)
    given.only("layout", 0)
    usual = ("Sigmoid", "Tanh")
    if given.node.attributes.get("activations", usual) != usual:
        raise CannotError("its activations are not sigmoid and tanh")
    for key in ("clip", "activation_alpha", "activation_beta"):
        if key in given.node.attributes:
            raise CannotError(f"it has {key}")
