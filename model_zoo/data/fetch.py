"""Fetching published files; the one module that knows pooch.

A ``Download`` with a SHA-256 is verified before anything reads it. One without has no
stable bytes (archives that GitHub packs on demand): whoever reads it verifies what it
holds.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from wire_protocol.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Download:
    """One file at a stable public address."""

    url: str
    sha256: str | None


Fetch = Callable[[Download, Path], Path]
"""Bring a download into a folder and return its path; fails with ``ConfigError``."""

TIMEOUT_S: Final = 30.0


def fetch_file(download: Download, folder: Path) -> Path:
    """Fetch over HTTPS into ``folder``.

    Raises:
        ConfigError: pooch is not installed, the host cannot be reached, or the bytes
            are not the published ones.
    """
    try:
        # Here and not above: pooch is an extra, and slow to import.
        import pooch  # noqa: PLC0415
    except ImportError as error:
        raise ConfigError(
            "fetching a data set needs pooch, which is not installed",
            remedy="pip install pooch",
        ) from error
    try:
        path: str = pooch.retrieve(
            download.url,
            known_hash=download.sha256 and f"sha256:{download.sha256}",
            path=folder,
            downloader=pooch.HTTPDownloader(timeout=TIMEOUT_S),
        )
    except (OSError, ValueError) as error:
        refusal = getattr(error, "response", None)
        if refusal is not None:
            refusal.close()  # pooch leaves it open
        # requests wraps what happened several times, saying the address each time.
        first: BaseException = error
        while first.__context__ is not None:
            first = first.__context__
        cause = " ".join(str(first).split())[:160]
        raise ConfigError(f"cannot fetch {download.url}: {cause}") from error
    return Path(path)
