"""``edgefed zoo new``: write a model's folder that builds and trains as it is.

The files are copies of this package's; nothing that exists is ever overwritten.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from model_zoo.scaffold.samples import DataKind, write_samples
from wire_protocol.errors import ConfigError

NAME: Final = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
MAX_NAME: Final = 32
_HERE: Final = Path(__file__).parent
_MFCC: Final = _HERE.parent / "data" / "mfcc.py"


@dataclass(frozen=True, slots=True)
class _Kind:
    """Which files a kind of data takes, and how an example looks."""

    definition: str
    input_shape: str
    words: str


KINDS: Final[Mapping[DataKind, _Kind]] = {
    "csv": _Kind("signal", "(16, 3)", "`data/<device>.csv`, a row for each sample"),
    "npz": _Kind("dense", "(4,)", "`data/<device>.npz` with `x` and `y`"),
    "wav": _Kind("signal", "(49, 10)", "`data/<device>/<label>/*.wav`"),
    "python": _Kind("dense", "(4,)", "the code in `data.py`"),
}

_RECIPE: Final = """\
# Settings of the experiment that measures this model.
[held-out]
data = {folder}
rounds = 10
epochs = 3
learning_rate = 0.05
"""

_README: Final = """\
# {name}

What it is for, in a sentence: ...

Data: {words}. What is there now is made up, replace it. `data.py` reads it, and
`definition.py` says what the model sees and how it is built.

    edgefed zoo build {folder}
    edgefed zoo verify {folder}
    edgefed demo --data {folder}

A server takes it with `[model] artifact = "{folder}"` in its server.toml, a device
reads its examples through `data.py` with `[data] source = "python"`.
"""


def checked_name(name: str) -> str:
    """Return ``name``, or raise ``ConfigError`` unless it can name a model."""
    if not NAME.fullmatch(name) or len(name) > MAX_NAME:
        raise ConfigError(
            f"{name!r:.60} is no model name: lower-case letters and digits, parts "
            f"joined by '-', beginning with a letter, at most {MAX_NAME} in all",
            remedy="such as washing-machine",
        )
    return name


def check_free(folder: Path) -> None:
    """Raise ``ConfigError`` where there is something that could be overwritten."""
    if folder.is_dir() and not any(folder.iterdir()):
        return
    if folder.exists() or folder.is_symlink():
        what = "is not empty" if folder.is_dir() else "is a file"
        raise ConfigError(
            f"{folder} {what}, and nothing is ever overwritten",
            remedy="name another one with --out",
        )


def make_folder(folder: Path) -> None:
    """Make ``folder``, or take an empty one.

    Raises:
        ConfigError: It has something in it, or cannot be made.
    """
    try:
        check_free(folder)
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"{folder} cannot be made: {error.strerror}",
            remedy="name another one with --out",
        ) from error


def write_new(folder: Path, *, name: str, data: DataKind, samples: bool = True) -> None:
    """Write a whole model's folder.

    Args:
        folder: Where; made, or empty.
        name: Of the model.
        data: What its examples are read from.
        samples: Whether made-up data is put in.

    Raises:
        ConfigError: The name is none, or the folder is taken or cannot be written.
    """
    checked_name(name)
    make_folder(folder)
    kind = KINDS[data]
    texts = {
        "definition.py": _definition(kind, name=name),
        "data.py": (_HERE / f"{data}_data.py").read_text(encoding="utf-8"),
        "recipe.toml": _RECIPE.format(folder=json.dumps(str(folder))),
        "README.md": _README.format(name=name, words=kind.words, folder=folder),
    }
    if data == "wav":
        texts["mfcc.py"] = _MFCC.read_text(encoding="utf-8")
    try:
        for file, text in texts.items():
            with (folder / file).open("x", encoding="utf-8") as stream:
                stream.write(text)
        if samples:
            write_samples(data, folder / "data")
    except OSError as error:
        raise ConfigError(
            f"{folder} cannot be written: {error.strerror}",
            remedy="name another one with --out",
        ) from error


def _definition(kind: _Kind, *, name: str) -> str:
    path = _HERE / f"{kind.definition}_definition.py"
    text = path.read_text(encoding="utf-8").replace("my-model", name)
    shape = f"INPUT_SHAPE: Final = {kind.input_shape}"
    return re.sub(r"^INPUT_SHAPE: Final = .*$", shape, text, flags=re.MULTILINE)
