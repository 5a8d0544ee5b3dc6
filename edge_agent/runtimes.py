"""The runtimes a device may train with, in the order they are tried.

This module is pure; it imports none of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, cast

RuntimeName: TypeAlias = Literal["litert", "onnxruntime", "tflite-runtime"]


@dataclass(frozen=True, slots=True)
class Runtime:
    """A runtime: what pip calls it, and which artifact files it runs.

    Attributes:
        name: As in ``[agent] runtime``.
        distribution: Name of the package that brings it.
        family: A key of ``wire_protocol.manifest.FAMILIES``.
    """

    name: RuntimeName
    distribution: str
    family: Literal["tflite", "onnx"]


# LiteRT first: with XNNPACK it is the fastest on 64-bit ARM and needs the least memory.
RUNTIMES: Final[Mapping[RuntimeName, Runtime]] = {
    runtime.name: runtime
    for runtime in (
        Runtime("litert", "ai-edge-litert", "tflite"),
        Runtime("onnxruntime", "onnxruntime", "onnx"),
        Runtime("tflite-runtime", "tflite-runtime", "tflite"),
    )
}


def runtime_named(name: str) -> Runtime:
    """Return the runtime called ``name``, a key of ``RUNTIMES``."""
    return RUNTIMES[cast("RuntimeName", name)]
