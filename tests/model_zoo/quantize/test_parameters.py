"""Parameter files: what was written comes back; anything else is a typed error."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model_zoo.quantize.parameters import load_parameters
from wire_protocol.errors import ConfigError
from wire_protocol.params import ParamLayout, ParamSpec, Vector

LAYOUT = ParamLayout((ParamSpec("00.dense.kernel", (2, 3)), ParamSpec("b", (3,))))
VECTOR = np.arange(9, dtype=np.float32)


def write_npz(path: Path, vector: Vector, *, layout: ParamLayout = LAYOUT) -> Path:
    names = [spec.name for spec in layout.specs]
    tensors = dict(zip(names, layout.split(vector), strict=True))
    np.savez(path, allow_pickle=False, **tensors)
    return path


@given(
    st.lists(
        st.floats(allow_nan=False, allow_infinity=False, width=32),
        min_size=9,
        max_size=9,
    ),
    st.sampled_from(["p.npz", "p.f32"]),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_was_written_comes_back(
    tmp_path: Path, values: list[float], name: str
) -> None:
    path, vector = tmp_path / name, np.asarray(values, np.float32)
    if name.endswith("npz"):
        write_npz(path, vector)
    else:
        path.write_bytes(vector.astype("<f4").tobytes())
    assert np.array_equal(load_parameters(path, LAYOUT), vector)


@given(st.binary(max_size=200), st.sampled_from(["p.npz", "p.f32"]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_parameters_or_an_error(
    tmp_path: Path, content: bytes, name: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    try:
        vector = load_parameters(path, LAYOUT)
    except ConfigError:
        return
    assert vector.shape == (9,)


def test_the_error_names_what_does_not_fit(tmp_path: Path) -> None:
    other = ParamLayout((ParamSpec("00.dense.kernel", (3, 2)), ParamSpec("b", (3,))))
    wide = tmp_path / "wide.npz"
    doubles = {"00.dense.kernel": np.zeros((2, 3)), "b": np.zeros(3)}
    np.savez(wide, allow_pickle=False, **doubles)
    cut = write_npz(tmp_path / "cut.npz", VECTOR)
    cut.write_bytes(cut.read_bytes()[:-40])
    infinite = VECTOR.copy()
    infinite[4] = np.inf
    short, long = tmp_path / "short.f32", tmp_path / "long.f32"
    short.write_bytes(bytes(20))
    long.write_bytes(bytes(37))
    for path, problem in {
        write_npz(tmp_path / "other.npz", VECTOR, layout=other): r"is float32 \[3, 2\]",
        wide: "declares 48 bytes; 36 are allowed",
        cut: "cannot be read as .npz",
        write_npz(tmp_path / "infinite.npz", infinite): "not finite",
        short: "holds 20 bytes, 9 parameters take 36",
        long: "holds more bytes",
        tmp_path / "none.npz": "cannot be read: No such file",
    }.items():
        with pytest.raises(ConfigError, match=problem):
            load_parameters(path, LAYOUT)
