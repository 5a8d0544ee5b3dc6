"""A published set is found or fetched, verified, or explained in one line."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model_zoo.data.fetch import Download
from model_zoo.data.origin import Origin, content_sha256, load_origin
from wire_protocol.errors import ConfigError
from wire_protocol.npz import Array

ARRAYS: dict[str, Array] = {
    "x": np.arange(6, dtype=np.float16).reshape(2, 3),
    "y": np.array([0, 1], np.uint8),
}
FILES = ("https://example.invalid/x", "https://example.invalid/y")
TOY = Origin(
    name="toy",
    folder="toys",
    arrays={"x": ("f", 2), "y": ("u", 1)},
    max_bytes=100,
    content_sha256=content_sha256(ARRAYS),
    downloads=tuple(Download(url, None) for url in FILES),
    convert=lambda files: {
        "x": np.load(files[0], allow_pickle=False),
        "y": np.load(files[1], allow_pickle=False),
    },
    source="https://example.invalid",
    licence="CC0",
    citation="Nobody 2020",
)


def serve(asked: list[str]) -> Callable[[Download, Path], Path]:
    """Return a fetch that serves ``ARRAYS`` and notes what it was asked for."""

    def fetch(download: Download, folder: Path) -> Path:
        asked.append(download.url)
        name = download.url[-1]
        path = folder / f"{name}.npy"
        np.save(path, ARRAYS[name])
        return path

    return fetch


def never(download: Download, folder: Path) -> Path:
    raise AssertionError((download, folder))


def offline(download: Download, folder: Path) -> Path:
    assert folder.is_dir()
    raise ConfigError(f"cannot fetch {download.url}: no network")


def place(root: Path, **arrays: Array) -> Path:
    path = root / "toys" / "data.npz"
    path.parent.mkdir()
    np.savez(path, allow_pickle=False, **arrays)
    return path


def test_a_set_in_edgefed_data_is_read_and_nothing_is_fetched(tmp_path: Path) -> None:
    place(tmp_path, **ARRAYS, more=np.zeros(1))
    found = load_origin(TOY, {"EDGEFED_DATA": str(tmp_path)}, fetch=never)
    assert found.keys() == ARRAYS.keys()
    assert all(np.array_equal(found[name], ARRAYS[name]) for name in ARRAYS)


@pytest.mark.parametrize("variable", ["HOME", "XDG_CACHE_HOME"])
def test_a_set_is_fetched_once_and_kept(tmp_path: Path, variable: str) -> None:
    asked: list[str] = []
    environ = {variable: str(tmp_path)}
    first = load_origin(TOY, environ, fetch=serve(asked))
    second = load_origin(TOY, environ, fetch=never)
    assert asked == list(FILES)
    assert content_sha256(first) == content_sha256(second) == TOY.content_sha256
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["data.npz"]


def test_what_is_fetched_but_not_published_is_not_kept(tmp_path: Path) -> None:
    other = replace(TOY, content_sha256="00" * 32)
    with pytest.raises(ConfigError, match="what was fetched is not the published toy"):
        load_origin(other, {"HOME": str(tmp_path)}, fetch=serve([]))
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_missing_set_is_one_line_that_says_how_to_get_it(tmp_path: Path) -> None:
    cases = {
        "data.npz is no file": {"EDGEFED_DATA": str(tmp_path)},
        "EDGEFED_DATA is not set": {},
        "example.invalid/x: no network": {"HOME": str(tmp_path)},
    }
    for says, environ in cases.items():
        with pytest.raises(ConfigError, match=says) as caught:
            load_origin(TOY, environ, fetch=offline)
        line = str(caught.value)
        assert "\n" not in line
        for word in ("toy", "EDGEFED_DATA", "CC0", "Nobody 2020", "example.invalid"):
            assert word in line


def test_a_set_without_downloads_says_how_to_bring_it(tmp_path: Path) -> None:
    brought = replace(TOY, downloads=(), convert=None)
    for variable in ("EDGEFED_DATA", "HOME"):
        environ = {variable: str(tmp_path)}
        with pytest.raises(ConfigError, match=r"toy is not here") as caught:
            load_origin(brought, environ, fetch=never)
        assert "put toys/data.npz with the arrays x, y" in str(caught.value)
        assert "unset" not in str(caught.value)
    place(tmp_path, **ARRAYS)
    assert load_origin(brought, {"EDGEFED_DATA": str(tmp_path)}, fetch=never)


def test_downloads_need_a_conversion() -> None:
    for half in ({"downloads": ()}, {"convert": None}):
        with pytest.raises(ConfigError, match="needs both"):
            replace(TOY, **half)


@pytest.mark.parametrize(
    "name", ["x", "y"], ids=["one value of x changed", "one value of y changed"]
)
def test_any_change_of_the_content_is_refused(tmp_path: Path, name: str) -> None:
    changed = {key: array.copy() for key, array in ARRAYS.items()}
    changed[name].flat[1] = 7
    place(tmp_path, **changed)
    with pytest.raises(ConfigError, match="is not the published toy: the SHA-256"):
        load_origin(TOY, {"EDGEFED_DATA": str(tmp_path)})


@pytest.mark.parametrize(
    "x", [ARRAYS["x"].astype(np.int64), ARRAYS["x"][0]], ids=["kind", "dimensions"]
)
def test_arrays_of_another_kind_are_named(tmp_path: Path, x: Array) -> None:
    place(tmp_path, **{**ARRAYS, "x": x})
    with pytest.raises(ConfigError, match="kind f with 2 dimensions"):
        load_origin(TOY, {"EDGEFED_DATA": str(tmp_path)})


def test_a_broken_file_is_refused(tmp_path: Path) -> None:
    path = place(tmp_path, **ARRAYS)
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(ConfigError, match=r"cannot be read as \.npz"):
        load_origin(TOY, {"EDGEFED_DATA": str(tmp_path)})


def test_a_cache_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".cache").write_text("in the way")
    with pytest.raises(ConfigError, match="cannot keep toy at"):
        load_origin(TOY, {"HOME": str(tmp_path)}, fetch=never)


def test_the_digest_knows_names_dtypes_and_shapes_but_not_memory_order() -> None:
    x = ARRAYS["x"]
    same = content_sha256({"x": np.asfortranarray(x)})
    assert same == content_sha256({"x": x})
    for other in ({"z": x}, {"x": x.reshape(3, 2)}, {"x": x.view(np.uint16)}):
        assert content_sha256(other) != same
