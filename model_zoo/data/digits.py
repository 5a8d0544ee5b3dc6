"""The embedded default: 1,797 handwritten digits of 8 x 8 pixels, from scikit-learn.

Examples are the 64 raw pixels, 0 to 16. The set comes with scikit-learn (BSD-3-Clause);
its origin is Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI 1998
(CC BY 4.0). It names no writers, so it has no natural clients.
"""

import numpy as np

from model_zoo.data.dataset import Dataset
from model_zoo.data.partition import stratified
from wire_protocol.errors import ConfigError


def read(rng: np.random.Generator) -> Dataset:
    """Return the set with a hold-out of 20 % of every class, drawn from ``rng``.

    Raises:
        ConfigError: scikit-learn is not installed.
    """
    try:
        # Here and not above: scikit-learn is an extra, and slow to import.
        from sklearn.datasets import load_digits  # noqa: PLC0415
    except ImportError as error:
        raise ConfigError(
            "the digits data set comes with scikit-learn, which is not installed",
            remedy="pip install scikit-learn",
        ) from error
    x, y = load_digits(return_X_y=True)
    labels = np.asarray(y, np.int32)
    return Dataset(
        name="digits",
        x=np.asarray(x, np.float32),
        y=labels,
        classes=tuple("0123456789"),
        held_out=stratified(labels, fraction=0.2, rng=rng),
    )
