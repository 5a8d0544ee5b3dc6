"""A small ``.keras`` file written without Keras, whole or with parts of one's own."""

import io
import json
import zipfile
from collections.abc import Callable
from functools import cache
from typing import Any

import h5py

from model_zoo.importing.keras_archive import MAX_WEIGHTS_BYTES
from tests.model_zoo.importing.foreign_networks import weights

CONFIG: dict[str, Any] = {
    "class_name": "Sequential",
    "config": {
        "layers": [
            {
                "class_name": "InputLayer",
                "config": {"name": "i", "batch_shape": [0, 4]},
            },
            {
                "class_name": "Dense",
                "config": {"name": "d", "units": 3, "activation": "softmax"},
                "build_config": {"input_shape": [None, 4]},
            },
        ]
    },
}
CONFIG["config"]["layers"][0]["config"]["batch_shape"][0] = None


def h5(write_into: Callable[[Any], None]) -> bytes:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        write_into(file)
    return buffer.getvalue()


def good(file: Any) -> None:
    file["layers/dense/vars/0"] = weights(4, 3)
    file["layers/dense/vars/1"] = weights(3)


GOOD = h5(good)


@cache
def bomb() -> bytes:
    """Some 300 KB that become more than may be."""
    return keras_bytes(content=b"\0" * (MAX_WEIGHTS_BYTES + 1))


def keras_bytes(
    config: bytes | None = None,
    content: bytes | None = None,
    *,
    extra: str = "",
    packing: int = zipfile.ZIP_DEFLATED,
) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", packing) as archive:
        archive.writestr(
            "config.json", json.dumps(CONFIG).encode() if config is None else config
        )
        archive.writestr("model.weights.h5", h5(good) if content is None else content)
        if extra:
            archive.writestr(extra, b"x")
    return buffer.getvalue()
