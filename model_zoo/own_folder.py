"""A model of the user's own: a folder like those in ``model_zoo/models``.

It holds ``definition.py`` with ``MODEL``, ``data.py`` with the examples, perhaps
``initial.f32`` to start from, and ``artifact/`` once it is built. The two ``.py`` files
are the user's own code and run with all rights of the command: load a folder only if
you would run its files yourself. Servers and devices never do; they take ``artifact/``.
"""

import importlib.util
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Final

import numpy as np

from model_zoo.model import Model
from wire_protocol.errors import ConfigError, EdgefedError
from wire_protocol.manifest import INITIAL
from wire_protocol.params import Vector

DEFINITION: Final = "definition.py"
DATA: Final = "data.py"


def is_folder(name: str) -> bool:
    """Tell whether ``name`` is written as a path, or is a folder with a definition."""
    return "/" in name or name in {".", ".."} or (Path(name) / DEFINITION).is_file()


def load_model(folder: Path) -> Model:
    """Run ``definition.py`` and return its ``MODEL``.

    Raises:
        ConfigError: There is none, or it fails; the message has the line.
    """
    path = folder / DEFINITION
    if not path.is_file():
        raise ConfigError(
            f"{folder} has no {DEFINITION}, so it is no model's folder",
            remedy="make one with: edgefed zoo new NAME",
        )
    model = getattr(run_file(path), "MODEL", None)
    if not isinstance(model, Model):
        came = "is missing" if model is None else f"is a {type(model).__name__}"
        raise ConfigError(
            f"{path}: MODEL {came}, expected a model_zoo.model.Model",
            remedy="write MODEL = Model(...); edgefed zoo new NAME shows a whole one",
        )
    return model


def load_examples(folder: Path) -> Callable[[], object]:
    """Run ``data.py`` and return its ``by_device``, or else its ``examples``.

    Raises:
        ConfigError: There is none, or the file fails; the message has the line.
    """
    path = folder / DATA
    if not path.is_file():
        raise ConfigError(
            f"{folder} has no {DATA}, so it is no data set",
            remedy="make one with: edgefed zoo new NAME --data csv",
        )
    module = run_file(path)
    for name in ("by_device", "examples"):
        function = getattr(module, name, None)
        if callable(function):
            found: Callable[[], object] = function
            return found
    raise ConfigError(
        f"{path} has no function examples()",
        remedy="write one that yields (x, y); edgefed zoo new NAME shows one",
    )


def load_initial(folder: Path, model: Model) -> Vector | None:
    """Return the parameters in ``initial.f32``, or None where there is no such file.

    Raises:
        ConfigError: They are not the model's, or not finite.
    """
    path = folder / INITIAL
    if not path.is_file():
        return None
    size = model.layout.size
    if path.stat().st_size == 4 * size:
        values = np.frombuffer(path.read_bytes(), "<f4").astype(np.float32)
        if np.isfinite(values).all():
            return values
    raise ConfigError(
        f"{path} does not hold {size} finite float32 values, one for each parameter "
        f"of {model.name}",
        remedy="undo the change of the layers, or remove the file to start anew",
    )


def run_file(path: Path) -> ModuleType:
    """Run a Python file as a module of its own.

    Raises:
        ConfigError: It fails; the message has the error and the line in that file.
    """
    name = f"edgefed_own_{path.parent.name}_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look themselves up there
    try:
        spec.loader.exec_module(module)
    except ConfigError as error:
        raise ConfigError(
            f"{place_of(error, path)}: {error.problem}", remedy=error.remedy
        ) from error
    except (Exception, SystemExit) as error:
        raise failure(error, path) from error
    finally:
        del sys.modules[name]
    return module


def failure(error: BaseException, path: Path) -> ConfigError:
    """Return what to tell the user when the code in ``path`` raised ``error``."""
    told = error.problem if isinstance(error, EdgefedError) else f"{error}"
    first = (told.splitlines() or [""])[0]
    return ConfigError(
        f"{place_of(error, path)}: {type(error).__name__}: {first:.200}",
        remedy="correct that line",
    )


def place_of(error: BaseException, path: Path) -> str:
    """Return the file with the last line of it that was running."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return f"{path}, line {error.lineno}"
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename) == path
    ]
    return f"{path}, line {lines[-1]}" if lines else str(path)
