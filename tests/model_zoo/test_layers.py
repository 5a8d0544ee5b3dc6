"""Laws of the layers, on the numpy oracle in float64."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_zoo.convolutions import conv2d
from model_zoo.depthwise import depthwise_conv2d
from model_zoo.embedding import embedding
from model_zoo.gradients import Array, slope_error
from model_zoo.layers import Layer, dense, flatten, frozen, personal, relu, scale
from model_zoo.loss import Labelled, head_of, judge, mean_loss
from model_zoo.model import Model, PlanDefaults
from model_zoo.norms import group_norm
from model_zoo.numpy_backend import NumpyBackend
from model_zoo.pools import average_pool, max_pool
from model_zoo.recurrent import gru
from model_zoo.resampling import upsample
from model_zoo.residual import residual
from model_zoo.verify import GRADIENT_LIMIT, gradient_check
from model_zoo.windows import Padding, Span, as_image, fit, repeated, unfit
from tests.model_zoo.cases import CASES, batches_of, params_of
from wire_protocol.errors import ConfigError

ORACLE = NumpyBackend(np.float64)
EACH = pytest.mark.parametrize("model", CASES.values(), ids=CASES)


@EACH
def test_gradients_by_parameters_are_the_slopes_of_the_loss(model: Model) -> None:
    check = gradient_check(model)
    assert check.value <= GRADIENT_LIMIT, check.detail


@EACH
def test_gradients_by_the_input_are_the_slopes_of_the_loss(model: Model) -> None:
    params = [tensor.astype(np.float64) for tensor in params_of(model, seed=1)]
    batch = next(batches_of(model, seed=2))
    at = batch.x.astype(np.float64).ravel()

    def labelled() -> Labelled:
        targets = batch.y
        if model.task == "reconstruction":
            targets = model.target(ORACLE, at.reshape(batch.x.shape), params=params)
        return Labelled(targets, batch.w.astype(np.float64))

    def loss(flat: Array) -> float:
        x = flat.reshape(batch.x.shape)
        logits, _ = model.apply(ORACLE, x, params=params)
        return float(mean_loss(ORACLE, logits, batch=labelled(), head=model.head)[0])

    x = batch.x.astype(np.float64)
    logits, _ = model.apply(ORACLE, x, params=params)
    _, dx = mean_loss(ORACLE, logits, batch=labelled(), head=model.head)
    pieces, left = [], list(params)
    shape = model.input_shape
    for layer in model.layers:
        count = len(layer.specs(shape))
        x, pullback = layer.apply(ORACLE, x, params=tuple(left[:count]), seed=None)
        shape, left = layer.output_shape(shape), left[count:]
        assert x.shape == (model.batch, *shape)
        pieces.append(pullback)
    for pullback in reversed(pieces):
        dx, _ = pullback(dx)
    if model.tokens:  # between whole numbers there is no slope
        assert not dx.any()
        return
    rng = np.random.default_rng(3)
    assert slope_error(loss, dx.ravel(), at=at, rng=rng) <= GRADIENT_LIMIT


def test_a_wrong_gradient_is_found() -> None:
    right = CASES["relu"]

    def doubled(layer: Layer) -> Layer:
        def apply(b, x, *, params, seed):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
            y, pullback = layer.apply(b, x, params=params, seed=seed)
            return y, lambda dy: pullback(2 * dy)

        return Layer(layer.kind, layer.output_shape, layer.specs, apply)

    layers = (doubled(right.layers[0]), *right.layers[1:])
    wrong = Model(
        name="wrong",
        data="none",
        input_shape=right.input_shape,
        outputs=right.outputs,
        batch=right.batch,
        layers=layers,
        plan=right.plan,
    )
    assert not gradient_check(wrong).passed


@given(
    length=st.integers(1, 40),
    window=st.integers(1, 9),
    stride=st.integers(1, 5),
    padding=st.sampled_from(["same", "valid"]),
)
def test_windows_cover_exactly_the_fitted_span(
    length: int, window: int, stride: int, padding: Padding
) -> None:
    if padding == "valid" and length < window:
        with pytest.raises(ConfigError, match="does not fit"):
            Span.over(length, window=window, stride=stride, padding=padding)
        return
    span = Span.over(length, window=window, stride=stride, padding=padding)
    assert span.before >= 0
    assert span.before + length + span.after == (span.count - 1) * stride + window
    wanted = -(-length // stride) if padding == "same" else None
    assert span.count == (wanted or (length - window) // stride + 1)


spans = st.builds(
    lambda before, after: Span(1, before, after), st.integers(0, 3), st.integers(-2, 3)
)


@given(rows=spans, columns=spans, seed=st.integers(0, 99))
def test_unfit_is_the_adjoint_of_fit(rows: Span, columns: Span, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((2, 4, 5, 3))
    fitted = fit(ORACLE, x, (rows, columns))
    y = rng.standard_normal(fitted.shape)
    back = unfit(ORACLE, y, (rows, columns))
    assert back.shape == x.shape
    assert np.vdot(fitted, y) == pytest.approx(np.vdot(x, back))


@given(down=st.integers(1, 3), right=st.integers(1, 3))
def test_upsampled_pixels_fill_their_window(down: int, right: int) -> None:
    y = np.arange(2 * 3 * 4 * 2.0).reshape(2, 3, 4, 2)
    wanted = y.repeat(down, 1).repeat(right, 2)
    assert np.array_equal(repeated(ORACLE, y, (down, right)), wanted)


@settings(max_examples=30)
@given(shift=st.floats(-5, 5), factor=st.floats(0.5, 4), seed=st.integers(0, 99))
def test_group_norm_forgets_shift_and_scale(
    shift: float, factor: float, seed: int
) -> None:
    layer = group_norm(2)
    x = np.random.default_rng(seed).standard_normal((3, 6, 4))
    params = (np.ones(4), np.zeros(4))
    y, _ = layer.apply(ORACLE, x, params=params, seed=None)
    moved, _ = layer.apply(ORACLE, factor * x + shift, params=params, seed=None)
    assert np.allclose(y, moved, atol=1e-3)
    by_group = y.reshape(3, 6, 2, 2)
    assert np.allclose(by_group.mean((1, 3)), 0, atol=1e-9)
    assert np.allclose(by_group.var((1, 3)), 1, atol=1e-3)


def test_equal_maxima_share_the_gradient() -> None:
    x = np.array([[1.0, 1.0, 0.0, 3.0, 2.0, 2.0, 7.0]]).reshape(1, 7, 1)
    y, pullback = max_pool(2).apply(ORACLE, x, params=(), seed=None)
    assert y.ravel().tolist() == [1.0, 3.0, 2.0]
    dx, _ = pullback(np.array([4.0, 6.0, 8.0]).reshape(1, 3, 1))
    assert dx.ravel().tolist() == [2.0, 2.0, 0.0, 6.0, 4.0, 4.0, 0.0]


@given(seed=st.integers(0, 99))
def test_pools_keep_the_sum_of_gradients(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 3, (2, 4, 6, 3)).astype(np.float64)
    for layer in (max_pool(2), average_pool(2)):
        y, pullback = layer.apply(ORACLE, x, params=(), seed=None)
        dy = rng.standard_normal(y.shape)
        assert pullback(dy)[0].sum() == pytest.approx(dy.sum())


def test_huge_logits_neither_overflow_nor_lose_the_loss() -> None:
    logits = np.array([[1000.0, 0.0], [0.0, -1000.0]])
    batch = Labelled(np.array([0, 1]), np.ones(2))
    loss, gradient = mean_loss(
        ORACLE, logits, batch=batch, head=head_of("classification")
    )
    assert loss == pytest.approx(500.0)
    assert gradient.tolist() == [[0.0, 0.0], [0.5, -0.5]]


def test_judging_weighs_every_example() -> None:
    logits = np.array([[2.0, 0.0], [2.0, 0.0], [0.0, 0.0]])
    batch = Labelled(np.array([0, 1, 0]), np.array([3.0, 1.0, 0.5]))
    loss_sum, correct = judge(
        ORACLE, logits, batch=batch, head=head_of("classification")
    )
    assert correct == 3.5
    miss = np.log1p(np.exp(2.0))
    assert loss_sum == pytest.approx(3 * (miss - 2) + miss + 0.5 * np.log(2))


@pytest.mark.parametrize(
    ("layers", "said"),
    [
        ((dense(4),), "not \\(2,\\)"),
        ((scale(1.0, 2.0), dense(2)), "2 factors for 5 channels"),
        ((group_norm(2), dense(2)), "5 channels do not make 2 groups"),
        ((max_pool(2), flatten(), dense(2)), r"\[H, W, C\], not \(5,\)"),
        ((residual(dense(4)), dense(2)), r"cannot add \(5,\) to .* \(4,\)"),
        ((upsample(2), dense(2)), r"\[H, W, C\], not \(5,\)"),
        ((gru(2), dense(2)), "gru takes an input of 2 dimensions"),
    ],
    ids=["outputs", "factors", "groups", "no_windows", "residual", "up", "gru"],
)
def test_a_model_that_does_not_fit_together_is_refused(
    layers: tuple[Layer, ...], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        Model(
            name="odd",
            data="none",
            input_shape=(5,),
            outputs=2,
            batch=4,
            layers=layers,
            plan=PlanDefaults(rounds=1, epochs=1, learning_rate=0.1, momentum=0.0),
        )


def test_dense_wants_a_flat_input() -> None:
    with pytest.raises(ConfigError, match="dense takes an input of 1 dimension"):
        dense(3).output_shape((4, 5))


def test_a_signal_is_an_image_of_height_one() -> None:
    assert as_image((9, 4)) == (1, 9, 4)
    assert as_image((7, 6, 4)) == (7, 6, 4)


def test_a_residuals_parameters_are_named_by_their_place() -> None:
    names = [spec.name for spec in CASES["residual"].layout.specs]
    assert names[:2] == ["00.residual.0.conv1d.kernel", "00.residual.0.conv1d.bias"]
    assert "00.residual.2.conv1d.kernel" in names
    assert "01.residual.projection.conv1d.kernel" in names


@pytest.mark.parametrize("kept", [frozen, personal])
def test_a_whole_residual_is_kept(kept: Callable[[Layer], Layer]) -> None:
    block = kept(residual(dense(5), relu()))
    assert not any(spec.federated for spec in block.specs((5,)))
    part = residual(kept(dense(5)), relu(), dense(5)).specs((5,))
    assert [spec.federated for spec in part] == [False, False, True, True]


@pytest.mark.parametrize("odd", [-1.0, 5.0, 1.5, float("nan")])
def test_what_is_no_token_has_no_place_in_a_table(odd: float) -> None:
    table = np.arange(1.0, 11.0).reshape(5, 2)
    tokens = np.array([[2.0, odd, 4.0]])
    y, pullback = embedding(5, 2).apply(ORACLE, tokens, params=(table,), seed=None)
    assert y.tolist() == [[[5.0, 6.0], [0.0, 0.0], [9.0, 10.0]]]
    _, (by_table,) = pullback(np.ones((1, 3, 2)))
    assert by_table.sum(1).tolist() == [0, 0, 2, 0, 2]


@given(
    size=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=st.integers(1, 3),
    padding=st.sampled_from(["same", "valid"]),
    seed=st.integers(0, 99),
)
def test_depthwise_is_a_convolution_with_a_diagonal_kernel(
    size: tuple[int, int], stride: int, padding: Padding, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    x, bias = rng.standard_normal((2, 6, 5, 3)), rng.standard_normal(3)
    kernel = rng.standard_normal((*size, 3))
    alone = depthwise_conv2d(size, stride=stride, padding=padding)
    full = conv2d(3, size, stride=stride, padding=padding)
    y, pull = alone.apply(ORACLE, x, params=(kernel, bias), seed=None)
    diagonal = kernel[..., None] * np.eye(3)
    wanted, pull_full = full.apply(ORACLE, x, params=(diagonal, bias), seed=None)
    assert np.allclose(y, wanted)
    dy = rng.standard_normal(y.shape)
    dx, (dkernel, dbias) = pull(dy)
    dx_full, (dkernel_full, dbias_full) = pull_full(dy)
    assert np.allclose(dx, dx_full)
    assert np.allclose(dkernel, np.einsum("hwcc->hwc", dkernel_full))
    assert np.allclose(dbias, dbias_full)


def test_a_kink_between_two_points_is_no_wrong_gradient() -> None:
    def kinked(at: Array) -> float:
        return float(at.sum() + np.maximum(at - 4e-7, 0).sum())

    rng = np.random.default_rng(0)
    where = np.zeros(1)
    assert slope_error(kinked, np.ones(1), at=where, rng=rng) <= 1e-5
    assert slope_error(kinked, np.full(1, 2.0), at=where, rng=rng) > 0.1
