"""The zoo: every model by name, and where its built artifact is.

Wherever a name is taken, so is the path of a folder of the user's own
(``model_zoo.own_folder``). Needs neither TensorFlow nor onnx.

>>> sorted(MODELS)[:3]
['digits-cnn', 'digits-mlp', 'energy-gru']
>>> manifest("digits-mlp").outputs
10
"""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from model_zoo import own_folder
from model_zoo.model import Model
from model_zoo.models.digits_cnn import definition as digits_cnn
from model_zoo.models.digits_mlp import definition as digits_mlp
from model_zoo.models.energy_gru import definition as energy_gru
from model_zoo.models.har_cnn1d import definition as har_cnn1d
from model_zoo.models.har_mlp import definition as har_mlp
from model_zoo.models.kws_dscnn import definition as kws_dscnn
from model_zoo.models.mnist_cnn import definition as mnist_cnn
from model_zoo.models.pump_autoencoder import definition as pump_autoencoder
from wire_protocol.errors import ConfigError, DecodeError
from wire_protocol.manifest import Manifest
from wire_protocol.params import Vector

MODELS: Final[Mapping[str, Model]] = {
    model.name: model
    for model in (
        digits_mlp.MODEL,
        digits_cnn.MODEL,
        har_cnn1d.MODEL,
        har_mlp.MODEL,
        kws_dscnn.MODEL,
        mnist_cnn.MODEL,
        pump_autoencoder.MODEL,
        energy_gru.MODEL,
    )
}
_MODELS: Final = Path(__file__).parent / "models"


def model(name: str) -> Model:
    """Return the model called ``name``, or raise ``ConfigError`` naming the nearest."""
    if name in MODELS:
        return MODELS[name]
    if own_folder.is_folder(name):
        return own_folder.load_model(Path(name))
    near = difflib.get_close_matches(name, MODELS, n=1)
    raise ConfigError(
        f"no model is called {name!r}; there are {', '.join(sorted(MODELS))}",
        remedy=f"did you mean {near[0]}?"
        if near
        else "see edgefed zoo list, or write a folder as ./FOLDER",
    )


def model_folder(name: str) -> Path:
    """Return where definition, recipe, card and artifact are kept."""
    if name not in MODELS and own_folder.is_folder(name):
        return Path(name)
    return _MODELS / model(name).name.replace("-", "_")


def shipped_folder(name: str) -> Path:
    """Return where the artifact is kept, whether or not it is there."""
    return model_folder(name) / "artifact"


def artifact_folder(name: str) -> Path:
    """Return the folder of the built artifact, which ships with the package."""
    folder = shipped_folder(name)
    if not (folder / "manifest.json").is_file():
        if name not in MODELS:
            raise ConfigError(
                f"{folder} holds no manifest.json: the model is not built yet",
                remedy=f"edgefed zoo build {name}",
            )
        raise ConfigError(
            f"the artifact of {name} is not in this installation",
            remedy=f"edgefed zoo build {name}",
        )
    return folder


def manifest(name: str) -> Manifest:
    """Return the manifest of the built artifact."""
    path = artifact_folder(name) / "manifest.json"
    try:
        return Manifest.from_json(path.read_bytes())
    except DecodeError as error:
        raise ConfigError(
            f"{path}: {error.problem}", remedy=f"edgefed zoo build {name}"
        ) from error


def initial(name: str) -> Vector | None:
    """Return the parameters a user's own model starts from; None: they are drawn."""
    if name in MODELS or not own_folder.is_folder(name):
        return None
    return own_folder.load_initial(Path(name), model(name))
