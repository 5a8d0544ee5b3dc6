"""The members of a published ZIP archive that a set is made of, read within bounds."""

import re
import zipfile
import zlib
from pathlib import Path

from wire_protocol.errors import ConfigError


def read_members(
    path: Path, member: re.Pattern[str], *, most: int, max_bytes: int
) -> dict[str, bytes]:
    """Return the contents of all members like ``member``, not yet verified.

    Args:
        path: Of the archive.
        member: Matches the whole name; its first group names the content.
        most: How many there may be.
        max_bytes: Of the largest one.

    Raises:
        ConfigError: The file is no ZIP archive, or one of implausible size.
    """
    contents: dict[str, bytes] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                name = member.fullmatch(info.filename)
                if name is None:
                    continue
                if len(contents) == most or info.file_size > max_bytes:
                    raise ConfigError(f"{path} is larger than the published archive")
                with archive.open(info) as file:
                    contents[name[1]] = file.read(max_bytes)
    except (
        OSError, EOFError, ValueError, RuntimeError, NotImplementedError,
        zipfile.BadZipFile, zlib.error,
    ) as error:  # fmt: skip
        raise ConfigError(f"{path} cannot be read as a ZIP archive: {error}") from error
    return contents
