"""The end of a network: a softmax or sigmoid that the loss has in it. Pure."""

from collections.abc import Mapping, Sequence
from typing import Final

from model_zoo.importing.network import ENDINGS, CannotError, Ending, Operation

_TAKEN_OFF: Final[Mapping[str, Ending]] = {
    "softmax": "softmax",
    "log_softmax": "log_softmax",
    "sigmoid": "sigmoid",
}


def ended(operations: Sequence[Operation]) -> tuple[list[Operation], Ending]:
    """Take a last softmax or sigmoid off, and say which it was.

    Raises:
        CannotError: A softmax is not the last layer.
    """
    kept = list(operations)
    ending: Ending = "linear"
    if kept and kept[-1].kind in _TAKEN_OFF:
        ending = _TAKEN_OFF[kept.pop().kind]
    for operation in kept:
        if operation.kind in ENDINGS:
            raise CannotError(f"{operation.source:.80} is a softmax before the end")
    return kept, ending
