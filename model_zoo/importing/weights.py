"""Weights by path in a Keras 3 ``model.weights.h5``; the only importer of h5py.

HDF5 can do far more than hold arrays: links to other files, virtual and external data,
objects. Only plain arrays of floats are read, of the shape that the configuration asks
for and no other, so that a claim of gigabytes is refused before anything is read.
"""

import io
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from model_zoo.importing.network import finite
from wire_protocol.errors import ConfigError

Shape = tuple[int, ...]
_MAX_DEPTH: Final = 16


class WeightsFile:
    """An opened file of weights."""

    def __init__(self, content: bytes) -> None:
        try:
            import h5py  # noqa: PLC0415 - an extra
        except ImportError as error:
            raise ConfigError(
                "h5py is not installed; reading a .keras file needs it",
                remedy="pip install h5py, or pip install tensorflow",
            ) from error
        self._h5py = h5py
        try:
            self._file = h5py.File(io.BytesIO(content), "r")
        except (OSError, ValueError, RuntimeError, KeyError) as error:
            raise ConfigError(f"model.weights.h5 is no HDF5 file: {error}") from error

    def read(self, path: str, *, shape: Shape, name: str) -> NDArray[np.float32]:
        """Return the array at ``path``, such as ``layers/dense/vars/0``.

        Raises:
            ConfigError: It is missing, of another shape, or no plain floats.
        """
        try:
            return self._read(path, shape=shape, name=name)
        except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
            raise ConfigError(f"the weights of {name:.80} are broken: {error}") from (
                error
            )

    def _read(self, path: str, *, shape: Shape, name: str) -> NDArray[np.float32]:
        here: Any = self._file
        for part in path.split("/")[:_MAX_DEPTH]:
            link = here.get(part, getlink=True) if part in here else None
            if link is None or not isinstance(link, self._h5py.HardLink):
                raise ConfigError(f"the weights of {name:.80} are not in the file")
            here = here[part]
        if not isinstance(here, self._h5py.Dataset):
            raise ConfigError(f"the weights of {name:.80} are no array")
        plain = here.dtype.kind == "f" and here.dtype.itemsize in (2, 4, 8)
        if not plain or here.is_virtual or here.external:
            raise ConfigError(
                f"the weights of {name:.80} are {here.dtype}, not plain floats"
            )
        if here.shape != shape:
            raise ConfigError(
                f"the weights of {name:.80} are {list(here.shape or ())}, its "
                f"configuration makes them {list(shape)}"
            )
        return finite(here[()], name=name)
