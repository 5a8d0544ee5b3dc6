"""MNIST by the people who wrote it: 539 train writers and 297 other test writers.

An example is an image of shape ``[28, 28, 1]`` with the raw pixels, 0 to 255. Natural
clients are NIST writers; no test writer trains, so hold-out and unseen people are the
same 10,000 official test images. As float32 the set takes 220 MB of memory.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np

from model_zoo.data import idx_files
from model_zoo.data.dataset import Dataset
from model_zoo.data.fetch import Download
from model_zoo.data.origin import Origin
from wire_protocol.npz import Array

_IMAGES: Final = "https://storage.googleapis.com/cvdf-datasets/mnist"
_LABELS: Final = (
    "https://raw.githubusercontent.com/facebookresearch/qmnist/"
    "94061367ec2e099ea18c553c75727ecf849ddb9b"
)

ORIGIN: Final = Origin(
    name="mnist-by-writer",
    folder="mnist_by_writer",
    arrays={
        "x": ("u", 3),
        "y": ("u", 1),
        "client_id": ("i", 1),
        "split": ("u", 1),
    },
    max_bytes=64 * 1024 * 1024,
    content_sha256="9e03a84cdd5d1efbc22e05e1ee565d7df257a7a230e4aa59fd3a5ccabe60fbaf",
    downloads=(
        Download(
            f"{_IMAGES}/train-images-idx3-ubyte.gz",
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        ),
        Download(
            f"{_LABELS}/qmnist-train-labels-idx2-int.gz",
            "2c05dc77f6b916b38e455e97ab129a42a444f3dbef09b278a366f82904e0dd9f",
        ),
        Download(
            f"{_IMAGES}/t10k-images-idx3-ubyte.gz",
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        ),
        Download(
            f"{_LABELS}/qmnist-test-labels-idx2-int.gz",
            "9fbcbe594c3766fdf4f0b15c5165dc0d1e57ac604e01422608bb72c906030d06",
        ),
    ),
    convert=idx_files.convert,
    source="https://github.com/facebookresearch/qmnist",
    licence="labels BSD-style, images as MNIST",
    citation=(
        "LeCun, Cortes, Burges, MNIST, and Yadav, Bottou, Cold Case: the Lost MNIST "
        "Digits, NeurIPS 2019"
    ),
)


def assemble(arrays: Mapping[str, Array]) -> Dataset:
    """Make the set of verified ``arrays``; this function is pure.

    Raises:
        ConfigError: The arrays contradict each other.
    """
    writers, client = np.unique(arrays["client_id"], return_inverse=True)
    test = arrays["split"] == 1
    return Dataset(
        name=ORIGIN.name,
        x=arrays["x"].astype(np.float32)[..., np.newaxis],
        y=arrays["y"].astype(np.int32),
        classes=tuple("0123456789"),
        held_out=test,
        unseen=test,
        client=client.astype(np.int32),
        clients=tuple(f"writer-{writer:04d}" for writer in writers.tolist()),
    )
