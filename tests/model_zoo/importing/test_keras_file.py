"""Keras files: what is imported computes the same, what is not is named."""
# ruff: noqa: PLC0415 - importing Keras takes seconds

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_zoo.importing.keras_file import read_keras
from model_zoo.importing.network import UnsupportedError
from model_zoo.importing.original import run_keras
from tests.model_zoo.importing.foreign_keras import KERAS_NETWORKS, saved
from tests.model_zoo.importing.foreign_networks import outputs_of, weights
from wire_protocol.errors import ConfigError

# Keras 3.15 with numpy 2 says this of itself
pytestmark = pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")

Change = Callable[[dict[str, Any]], None]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("keras")
    for name in KERAS_NETWORKS:
        saved(name, made)
    return made


@pytest.mark.parametrize("name", KERAS_NETWORKS)
def test_an_import_computes_what_keras_does(name: str, folder: Path) -> None:
    path = folder / f"{name}.keras"
    network = read_keras(path)
    x = weights(4, *network.input_shape)
    if network.tokens:
        x = np.floor((x + 1) * network.tokens / 2)
        wanted = run_keras(path, x.astype(np.int32))
    else:
        wanted = run_keras(path, x)
    ours = outputs_of(network, x)
    if network.ending == "sigmoid":
        assert wanted.min() >= 0
    assert wanted.shape == ours.shape
    assert np.abs(ours - wanted).max() < 1e-5


def test_what_the_file_says_of_itself_is_kept(folder: Path) -> None:
    network = read_keras(folder / "mlp.keras")
    assert (network.ending, network.loss) == ("softmax", "classification")
    assert network.operations[-1].source == "odd name"
    assert read_keras(folder / "sequence.keras").tokens == 11


def test_layers_made_anew_are_keras_s_own_network(folder: Path) -> None:
    """``run_keras`` is no image of our reading: Keras's loader agrees with it."""
    import keras

    x = weights(4, 12, 10, 3)
    model = keras.models.load_model(folder / "image.keras")
    mine = run_keras(folder / "image.keras", x)
    assert np.abs(np.asarray(model(x)) - mine).max() < 1e-5


def changed(path: Path, change: Change, folder: Path) -> Path:
    """Return a copy of a file with another configuration."""
    copy = folder / path.name
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(copy, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "config.json":
                config = json.loads(content)
                change(config)
                content = json.dumps(config).encode()
            new.writestr(name, content)
    return copy


def _of_layer(number: int, **values: Any) -> Change:
    def change(config: dict[str, Any]) -> None:
        layer = config["config"]["layers"][number]
        layer["class_name"] = values.pop("class_name", layer["class_name"])
        layer["config"].update(values)

    return change


CHANGES: dict[str, tuple[str, Change, str]] = {
    "a dilation": ("signal", _of_layer(1, dilation_rate=[2]), "dilation_rate"),
    "causal": ("signal", _of_layer(1, padding="causal"), "padding is 'causal'"),
    "a class": ("mlp", _of_layer(2, class_name="Lambda"), "no counterpart"),
    "code as activation": (
        "mlp",
        _of_layer(1, activation={"class_name": "__lambda__", "config": {"code": "x"}}),
        "activation .* has no counterpart",
    ),
    "swish": ("mlp", _of_layer(1, activation="swish"), "activation 'swish'"),
    "other units": ("mlp", _of_layer(1, units=7), "makes them"),
    "a claim of 2 GB": ("mlp", _of_layer(1, units=1 << 20), "makes them"),
    "more than can be": ("mlp", _of_layer(1, units=1 << 40), "units is"),
    "a truth for a number": ("mlp", _of_layer(1, units=True), "units is True"),
    "overlapping pools": ("signal", _of_layer(4, strides=[1]), "windows overlap"),
    "another gate": ("sequence", _of_layer(2, reset_after=False), "reset_after"),
    "a mask": ("sequence", _of_layer(1, mask_zero=True), "mask_zero"),
    "no fixed shape": ("mlp", _of_layer(0, batch_shape=[None, None]), "fixed sides"),
    "a softmax inside": ("mlp", _of_layer(1, activation="softmax"), "before the end"),
    "two names alike": ("mlp", _of_layer(1, name="odd name"), "one name"),
    "a subclass": ("mlp", lambda c: c.update(class_name="MyModel"), "neither"),
    "no layers": ("mlp", lambda c: c.update(config=3), "Keras 3 does not write"),
    "layers of numbers": (
        "mlp",
        lambda c: c["config"].update(layers=[1, 2]),
        "Keras 3 does not write",
    ),
    "two uses": (
        "sequence",
        lambda c: c["config"]["layers"][2].update(inbound_nodes=[{}, {}]),
        "used 2 times",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_cannot_be_imported_is_said(
    name: str, folder: Path, tmp_path: Path
) -> None:
    network, change, said = CHANGES[name]
    path = changed(folder / f"{network}.keras", change, tmp_path)
    with pytest.raises(ConfigError, match=said):
        read_keras(path)


def test_every_unsupported_layer_is_listed(folder: Path, tmp_path: Path) -> None:
    def change(config: dict[str, Any]) -> None:
        _of_layer(1, dilation_rate=[3])(config)
        _of_layer(2, class_name="Lambda", name="mine")(config)
        _of_layer(6, activation="gelu")(config)

    path = changed(folder / "signal.keras", change, tmp_path)
    with pytest.raises(UnsupportedError) as caught:
        read_keras(path)
    said = [(one.kind, one.why) for one in caught.value.found]
    assert [kind for kind, _ in said] == ["Conv1D", "Lambda", "Conv1D"]
    assert said[2][1] == "activation 'gelu' has no counterpart"
    assert caught.value.exit_code == 2
