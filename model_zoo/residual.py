"""Residual blocks (He et al., 2016): a row of layers, and a way around it. Pure."""

from dataclasses import replace

from model_zoo.backend import Backend, Shape, Tensor
from model_zoo.layers import Gradients, Layer, Pullback, Seed
from model_zoo.sequence import apply_all, shape_after, specs_of
from wire_protocol.errors import ConfigError
from wire_protocol.params import ParamSpec


def residual(*layers: Layer, projection: Layer | None = None) -> Layer:
    """``y = layers(x) + x``, or ``layers(x) + projection(x)``.

    Parameters are called like ``0.conv2d.kernel``, of the projection
    ``projection.conv2d.kernel``.
    """
    around = () if projection is None else (projection,)

    def output_shape(shape: Shape) -> Shape:
        ends = shape_after(layers, shape), shape_after(around, shape)
        if ends[0] != ends[1]:
            raise ConfigError(
                f"residual cannot add {ends[1]} to its layers' output {ends[0]}",
                remedy="keep the shape, or give a projection, such as a convolution",
            )
        return ends[0]

    def specs(shape: Shape) -> tuple[ParamSpec, ...]:
        inner = [s for of in specs_of(layers, shape, digits=1) for s in of]
        if projection is not None:
            prefix = f"projection.{projection.kind}"
            inner += [
                replace(spec, name=f"{prefix}.{spec.name}")
                for spec in projection.specs(shape)
            ]
        return tuple(inner)

    def apply(
        b: Backend, x: Tensor, *, params: tuple[Tensor, ...], seed: Seed
    ) -> tuple[Tensor, Pullback]:
        inner = specs_of(layers, b.shape(x)[1:], digits=1)
        count = sum(len(of_layer) for of_layer in inner)
        ways = (
            (layers, params[:count], seed.of(0) if seed else None),
            (around, params[count:], seed.of(1) if seed else None),
        )
        ends = [
            apply_all(b, x, layers=row, params=own, seed=drawn)
            for row, own, drawn in ways
        ]

        def pullback(dy: Tensor) -> Gradients:
            (dx, grads), (dx_around, more) = (pull(dy) for _, pull in ends)
            return b.add(dx, dx_around), (*grads, *more)

        return b.add(ends[0][0], ends[1][0]), pullback

    seeded = any(layer.seeded for layer in (*layers, *around))
    return Layer("residual", output_shape, specs, apply, seeded=seeded)
