"""Reading a foreign network, as a program: ``python -m ... FILE FOLDER``.

Run by ``model_zoo.importing.sandbox``; writes the network's two files into FOLDER.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from model_zoo.importing.network import Network
from model_zoo.importing.sandbox import READING, limit_myself, report
from wire_protocol.errors import ConfigError, EdgefedError


def read_file(path: Path) -> Network:
    """Return the network in a ``.keras`` or ``.onnx`` file.

    Raises:
        ConfigError: It is broken, or has layers that have no counterpart.
    """
    try:
        if path.suffix == ".onnx":
            from model_zoo.importing.onnx_network import read_onnx  # noqa: PLC0415

            return read_onnx(path)
        from model_zoo.importing.keras_file import read_keras  # noqa: PLC0415

        return read_keras(path)
    except OSError as error:
        raise ConfigError(
            f"{path.name} cannot be read: {error.strerror or error}"
        ) from error
    except MemoryError as error:
        raise ConfigError(
            f"{path.name} asks for more than {READING.memory_mib} MiB",
            remedy="it is too large, or made to be",
        ) from error


def main(arguments: Sequence[str]) -> int:
    """Read ``arguments[0]`` into the folder ``arguments[1]``."""
    from model_zoo.importing.network_files import write_network  # noqa: PLC0415

    limit_myself(READING)
    path, folder = (Path(argument) for argument in arguments)
    try:
        write_network(read_file(path), folder)
    except ConfigError as error:
        return report(error)
    except EdgefedError as error:
        return report(ConfigError(error.problem, remedy=error.remedy))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
