"""An ``.onnx`` file read into a network."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from model_zoo.importing.chain import Node, Row, Shortcut, row_of
from model_zoo.importing.constructors import shape_after
from model_zoo.importing.ending import ended
from model_zoo.importing.folding import folded
from model_zoo.importing.network import CannotError, Findings, Network, Operation
from model_zoo.importing.onnx_file import OnnxGraph, OnnxNode, parse_onnx
from model_zoo.importing.onnx_given import Given
from model_zoo.importing.onnx_layers import IMAGES, MAKERS
from model_zoo.importing.onnx_layout import Layout
from model_zoo.importing.onnx_patterns import simplified
from model_zoo.importing.onnx_sequences import check_ends
from wire_protocol.errors import ConfigError

Made = tuple[list[Operation], Layout]


def read_onnx(path: Path) -> Network:
    """Return the network in an ``.onnx`` file.

    Raises:
        ConfigError: The file is broken.
        UnsupportedError: Operators in it have no counterpart here.
    """
    graph = parse_onnx(path)
    try:
        return network_of(graph)
    except CannotError as error:
        raise ConfigError(
            f"{path.name} cannot be imported: {error}",
            remedy="see docs/extend.md, which networks can",
        ) from error


def network_of(graph: OnnxGraph) -> Network:
    """Return the network of a parsed file.

    Raises:
        CannotError: It is no row of layers.
        UnsupportedError: Operators in it have no counterpart here.
    """
    graph = simplified(graph)
    findings = Findings()
    for node in graph.nodes:
        findings.attempt(partial(_known, node), name=node.name, kind=node.kind)
    findings.check()
    by_tensor = {node.gives[0]: node for node in graph.nodes if node.gives}
    reader = _Reader(by_tensor, graph.constants, findings)
    nodes = {tensor: reader.linked(node) for tensor, node in by_tensor.items()}
    row = row_of(nodes, start=graph.start, end=graph.end)
    layout = _begin(graph, [reader.by_tensor[s] for s in row if isinstance(s, str)])
    operations, last = reader.walk(row, layout)
    findings.check()
    if last is not None and last.flat is not None:
        raise CannotError("it ends in a flattened tensor, not in a dense layer")
    operations, ending = ended(operations)
    embeds = bool(operations) and operations[0].kind == "embedding"
    if graph.tokens and not embeds:
        raise CannotError("it takes whole numbers, and does not look them up as tokens")
    return Network(
        input_shape=layout.shape,
        operations=folded(operations),
        ending=ending,
        axes=layout.axes,
        tokens=operations[0].weights[0].shape[0] if embeds else 0,
    )


def _known(node: OnnxNode) -> None:
    if node.kind not in MAKERS:
        raise CannotError("has no counterpart here")
    if node.kind == "GRU":
        check_ends(node)


def _begin(graph: OnnxGraph, row: list[OnnxNode]) -> Layout:
    """Channels are first in the input where a convolution comes before a turn."""
    shape = graph.input_shape
    for node in row:
        if node.kind in IMAGES and len(shape) > 1:
            return Layout.channels_first(shape)
        if node.kind in ("Transpose", "GRU"):
            break
    return Layout.same(shape)


@dataclass(frozen=True, slots=True)
class _Reader:
    """Makes operations of the row's nodes, and notes those it cannot."""

    by_tensor: Mapping[str, OnnxNode]
    constants: Mapping[str, NDArray[Any]]
    findings: Findings

    def linked(self, node: OnnxNode) -> Node:
        """Return a node with the tensors it takes that are no constants."""
        takes = tuple(
            name for name in node.takes if name and name not in self.constants
        )
        return Node(node.name, takes, is_sum=node.kind == "Add")

    def walk(
        self, row: Row, layout: Layout | None
    ) -> tuple[list[Operation], Layout | None]:
        """Return the operations, and where they lead (None when unknown)."""
        operations: list[Operation] = []
        for step in row:
            if layout is None:
                break
            if isinstance(step, Shortcut):
                name, kind = step.name, "Add"
                make = partial(self._residual, step, layout)
            else:
                node = self.by_tensor[step]
                name, kind = node.name, node.kind
                make = partial(self._made, node, layout)
            found = self.findings.attempt(make, name=name, kind=kind)
            layout = None
            if found is not None:
                operations += found[0]
                layout = found[1]
        return operations, layout

    def _made(self, node: OnnxNode, layout: Layout) -> Made:
        made, after = MAKERS[node.kind](Given(node, self.constants, layout))
        # what convolutions and pools leave of the image only the layers know
        shape = shape_after(made, layout.shape)
        if len(shape) == len(after.shape):
            after = Layout(shape, after.axes, after.flat)
        return made, after

    def _residual(self, step: Shortcut, layout: Layout) -> Made:
        inner, after = self.walk(step.inner, layout)
        self.findings.check()
        if after is None or (after.axes, after.flat) != (layout.axes, layout.flat):
            raise CannotError("its branches do not lie alike")
        made = [Operation("residual", inner=tuple(inner), source=step.name)]
        shape_after(made, layout.shape)
        return made, layout
