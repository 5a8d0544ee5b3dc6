"""Made-up examples that a model can learn. Pure."""

from collections.abc import Iterator

import numpy as np

from model_zoo.model import Model
from wire_protocol.selftest import Batch, Targets


def learnable(model: Model, *, seed: int) -> Iterator[Batch]:
    """Yield endless batches: a noisy pattern for each class, two padding rows each.

    Where there are no classes, ten patterns stand for a target each.
    """
    rng = np.random.default_rng(seed)
    kinds = model.outputs if model.task == "classification" else 10
    patterns = rng.standard_normal((kinds, *model.input_shape))
    targets = rng.uniform(0, 1, (kinds, model.outputs)).astype(np.float32)
    w = np.ones(model.batch, np.float32)
    w[-2:] = 0
    while True:
        kind = rng.integers(0, kinds, model.batch).astype(np.int32)
        noise = rng.standard_normal((model.batch, *model.input_shape))
        x = model.spread * (patterns[kind] + noise)
        if model.tokens:
            x = np.floor(x * model.tokens / 4) % model.tokens
        match model.task:
            case "classification":
                y: Targets = kind
            case "reconstruction":
                y = np.zeros((model.batch, 0), np.float32)
            case "binary":
                y = np.round(targets[kind])
            case _:
                y = targets[kind]
        yield Batch(x.astype(np.float32), y, w)
