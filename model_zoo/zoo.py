"""The zoo: every model by name, and where its built artifact is.

Needs neither TensorFlow nor onnx.

>>> sorted(MODELS)
['digits-mlp', 'har-cnn1d', 'pump-autoencoder']
>>> manifest("digits-mlp").outputs
10
"""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from model_zoo.model import Model
from model_zoo.models.digits_mlp import definition as digits_mlp
from model_zoo.models.har_cnn1d import definition as har_cnn1d
from model_zoo.models.pump_autoencoder import definition as pump_autoencoder
from wire_protocol.errors import ConfigError
from wire_protocol.manifest import Manifest

MODELS: Final[Mapping[str, Model]] = {
    definition.MODEL.name: definition.MODEL
    for definition in (digits_mlp, har_cnn1d, pump_autoencoder)
}
_MODELS: Final = Path(__file__).parent / "models"


def model(name: str) -> Model:
    """Return the model called ``name``, or raise ``ConfigError`` naming the nearest."""
    if name in MODELS:
        return MODELS[name]
    near = difflib.get_close_matches(name, MODELS, n=1)
    raise ConfigError(
        f"no model is called {name!r}; there are {', '.join(sorted(MODELS))}",
        remedy=f"did you mean {near[0]}?" if near else "see edgefed zoo list",
    )


def shipped_folder(name: str) -> Path:
    """Return where the package keeps the artifact, whether or not it is there."""
    return _MODELS / model(name).name.replace("-", "_") / "artifact"


def artifact_folder(name: str) -> Path:
    """Return the folder of the built artifact that ships with the package."""
    folder = shipped_folder(name)
    if not (folder / "manifest.json").is_file():
        raise ConfigError(
            f"the artifact of {name} is not in this installation",
            remedy=f"edgefed zoo build {name}",
        )
    return folder


def manifest(name: str) -> Manifest:
    """Return the manifest of the artifact that ships with the package."""
    return Manifest.from_json((artifact_folder(name) / "manifest.json").read_bytes())
