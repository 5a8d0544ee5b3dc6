"""Multiply-accumulates, against what one counts by hand."""

import pytest

from model_zoo.convolutions import conv1d, conv2d
from model_zoo.layers import Layer, dense, flatten, relu, scale
from model_zoo.macs import forward_macs
from model_zoo.model import Model, PlanDefaults
from model_zoo.norms import group_norm
from model_zoo.pools import average_pool, global_average_pool

SHAPE = (8, 6, 3)


def counted(*layers: Layer, shape: tuple[int, ...] = SHAPE, outputs: int) -> int:
    model = Model(
        name="counted",
        data="none",
        input_shape=shape,
        outputs=outputs,
        batch=4,
        layers=layers,
        plan=PlanDefaults(1, 1, 0.1, 0.9),
    )
    return forward_macs(model)


@pytest.mark.parametrize(
    ("layers", "shape", "outputs", "macs"),
    [
        ((dense(5),), (7,), 5, 7 * 5),
        ((dense(5), relu(), dense(2)), (7,), 2, 7 * 5 + 5 * 2),
        ((conv2d(4, (3, 5)), flatten()), SHAPE, 192, 8 * 6 * 4 * 3 * 5 * 3),
        ((conv2d(4, (3, 3), stride=2), flatten()), SHAPE, 48, 4 * 3 * 4 * 9 * 3),
        ((conv1d(4, 5, padding="valid"), flatten()), (9, 2), 20, 5 * 4 * 5 * 2),
        (
            (scale(2.0), group_norm(1), average_pool(2), global_average_pool()),
            SHAPE,
            3,
            0,
        ),
    ],
)
def test_products_that_are_summed_count_and_nothing_else(
    layers: tuple[Layer, ...], shape: tuple[int, ...], outputs: int, macs: int
) -> None:
    assert counted(*layers, shape=shape, outputs=outputs) == macs
