"""Reading trained parameters: NPZ by name as ``edgefed server export`` writes, or raw.

Either may be broken or another model's; both are read whole, and never more than fits.
"""

from pathlib import Path

import numpy as np

from wire_protocol.errors import ConfigError
from wire_protocol.npz import load_arrays
from wire_protocol.params import ParamLayout, Vector

_REMEDY = "write it with 'edgefed server export', for this model"


def load_parameters(path: Path, layout: ParamLayout) -> Vector:
    """Return the parameters in ``path`` (``.npz`` or ``.f32``), shape ``[size]``.

    Raises:
        ConfigError: It cannot be read, is not finite, or is not of this layout.
    """
    try:
        vector = _raw(path, layout) if path.suffix == ".f32" else _named(path, layout)
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read: {error.strerror}", remedy=_REMEDY
        ) from error
    if not np.isfinite(vector).all():
        raise ConfigError(f"{path} has a parameter that is not finite", remedy=_REMEDY)
    return vector


def _raw(path: Path, layout: ParamLayout) -> Vector:
    wanted = 4 * layout.size
    with path.open("rb") as file:
        content = file.read(wanted + 1)
    if len(content) != wanted:
        found = "more" if len(content) > wanted else len(content)
        raise ConfigError(
            f"{path} holds {found} bytes, {layout.size} parameters take {wanted}",
            remedy=_REMEDY,
        )
    return np.frombuffer(content, "<f4").astype(np.float32)


def _named(path: Path, layout: ParamLayout) -> Vector:
    names = [spec.name for spec in layout.specs]
    try:
        arrays = load_arrays(path, names, max_bytes=4 * layout.size)
    except ConfigError as error:
        raise ConfigError(error.problem, remedy=_REMEDY) from error
    for spec in layout.specs:
        array = arrays[spec.name]
        if array.dtype != np.float32 or array.shape != spec.shape:
            raise ConfigError(
                f"{path}: {spec.name} is {array.dtype} {list(array.shape)}, not "
                f"float32 {list(spec.shape)}",
                remedy=_REMEDY,
            )
    return layout.join([arrays[name].astype(np.float32) for name in names])
