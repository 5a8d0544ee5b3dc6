"""Where a set that does not ship with the package comes from, and how it is found.

With ``EDGEFED_DATA`` set, a set is ``$EDGEFED_DATA/<folder>/data.npz`` and nothing is
ever fetched. Without it, the published files are fetched once, converted, and kept in
the user's cache folder. Either way the content is verified by one SHA-256 over the
arrays: repacking a file changes nothing, and any other change is an error.
"""

import hashlib
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np

from model_zoo.data.fetch import Download, Fetch, fetch_file
from model_zoo.user_cache import user_cache
from wire_protocol.errors import ConfigError
from wire_protocol.npz import Array, load_arrays

Wanted: TypeAlias = Mapping[str, tuple[str, int]]
"""For each array: the dtype kinds it may have (such as ``"iu"``), and its ndim."""

Convert: TypeAlias = Callable[[Sequence[Path]], dict[str, Array]]
"""Makes arrays of fetched files, or fails with ``ConfigError``."""


@dataclass(frozen=True, slots=True)
class Origin:
    """One published set: its arrays and their digest, its files, and whom to thank.

    ``convert`` makes exactly ``arrays`` of the fetched ``downloads``, in their order.
    A set without downloads cannot be fetched, only brought: no public file is known
    from which these arrays can be made and verified.
    """

    name: str
    folder: str
    arrays: Wanted
    max_bytes: int
    content_sha256: str
    source: str
    licence: str
    citation: str
    downloads: tuple[Download, ...] = ()
    convert: Convert | None = None

    def __post_init__(self) -> None:
        if bool(self.downloads) != (self.convert is not None):
            raise ConfigError(
                f"{self.name} needs both downloads and a conversion, or neither"
            )


def content_sha256(arrays: Mapping[str, Array]) -> str:
    """SHA-256, in hex, of names, dtypes, shapes and C-order bytes, sorted by name."""
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype.str} {list(array.shape)}\n".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def load_origin(
    origin: Origin, environ: Mapping[str, str], *, fetch: Fetch = fetch_file
) -> dict[str, Array]:
    """Find (or fetch), read and verify the arrays of ``origin``.

    Args:
        origin: What to load.
        environ: The process environment: ``EDGEFED_DATA`` is the folder of data sets,
            ``XDG_CACHE_HOME`` or ``HOME`` says where fetched ones are kept.
        fetch: How a file is fetched.

    Raises:
        ConfigError: The set is missing, broken, or not the published one.
    """
    root = environ.get("EDGEFED_DATA")
    if root:
        path = Path(root) / origin.folder / "data.npz"
        if not path.is_file():
            raise ConfigError(
                f"the data set {origin.name} is not here: {path} is no file",
                remedy=f"unset EDGEFED_DATA to fetch it; {_credit(origin)}"
                if origin.downloads
                else _bring(origin),
            )
    else:
        path = _cache(origin, environ) / origin.folder / "data.npz"
        if not path.is_file():
            if origin.convert is None:
                raise ConfigError(
                    f"the data set {origin.name} is not here: it cannot be fetched, "
                    "for no public file is known that holds exactly these arrays",
                    remedy=_bring(origin),
                )
            _keep(origin, path, fetch=fetch, convert=origin.convert)
    arrays = _read(origin, path)
    _verify(origin, arrays, place=str(path))
    return arrays


def _cache(origin: Origin, environ: Mapping[str, str]) -> Path:
    cache = user_cache(environ)
    if cache is None:
        raise ConfigError(
            f"the data set {origin.name} is not here: EDGEFED_DATA is not set",
            remedy=f"set it to a folder that has {origin.folder}/data.npz; "
            f"{_credit(origin)}",
        )
    return cache / "data"


def _keep(origin: Origin, path: Path, *, fetch: Fetch, convert: Convert) -> None:
    """Fetch, convert and verify ``origin``, and only then put it at ``path``."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            files = [fetch(file, Path(folder)) for file in origin.downloads]
            arrays = convert(files)
            _verify(origin, arrays, place="what was fetched")
            made = Path(folder) / path.name
            with made.open("wb") as file:
                np.savez_compressed(file, allow_pickle=False, **arrays)
            made.replace(path)
    except OSError as error:
        raise ConfigError(f"cannot keep {origin.name} at {path}: {error}") from error
    except ConfigError as error:
        raise ConfigError(
            f"the data set {origin.name} is not at {path} and {error.problem}",
            remedy=error.remedy
            or f"go online, or set EDGEFED_DATA to a folder that has "
            f"{origin.folder}/data.npz; {_credit(origin)}",
        ) from error


def _read(origin: Origin, path: Path) -> dict[str, Array]:
    try:
        arrays = load_arrays(path, origin.arrays, max_bytes=origin.max_bytes)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    for name, (kinds, ndim) in origin.arrays.items():
        array = arrays[name]
        if array.dtype.kind not in kinds or array.ndim != ndim:
            raise ConfigError(
                f"{path}: array {name} is {array.dtype} {list(array.shape)}; "
                f"kind {kinds} with {ndim} dimensions was expected"
            )
    return arrays


def _verify(origin: Origin, arrays: Mapping[str, Array], *, place: str) -> None:
    found = content_sha256(arrays)
    if found != origin.content_sha256:
        raise ConfigError(
            f"{place} is not the published {origin.name}: the SHA-256 of its arrays is "
            f"{found[:16]}..., expected {origin.content_sha256[:16]}...",
            remedy=f"remove it; {_credit(origin)}",
        )


def _bring(origin: Origin) -> str:
    wanted = ", ".join(origin.arrays)
    return (
        f"put {origin.folder}/data.npz with the arrays {wanted} into a folder and set "
        f"EDGEFED_DATA to it; {_credit(origin)}"
    )


def _credit(origin: Origin) -> str:
    return f"origin {origin.source}, {origin.licence}, cite {origin.citation}"
