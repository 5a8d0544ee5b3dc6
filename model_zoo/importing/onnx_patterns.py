"""Several nodes of a file that are one layer here, put together. Pure.

Exporters surround a recurrent unit with transpositions, since ONNX has the time first,
write a group normalization as one of instances, and a mean over a signal as one over an
image. What is put together is left out; so is everything the output does not need, such
as nodes that only work shapes out.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from model_zoo.importing.onnx_file import OnnxGraph, OnnxNode, few_wholes

_STATES: Final = ("length", "direction", "batch", "units")
_LAST_STATE: Final = ("direction", "batch", "units")
_ALL, _LAST = ("batch", "length", "units"), ("batch", "units")
_MOST_STEPS: Final = 32
"""Nodes between a recurrent unit and what takes its states: a few, in real files."""


def simplified(graph: OnnxGraph) -> OnnxGraph:
    """Return the graph with every pattern put together, and nothing unneeded."""
    file = _File.of(graph)
    patterns = {
        "GRU": file.recurrent,
        "InstanceNormalization": file.group_norm,
        "ReduceMean": file.signal_mean,
    }
    made: dict[str, OnnxNode] = {}
    for node in graph.nodes:
        found = patterns[node.kind](node) if node.kind in patterns else None
        made.update((one.gives[0], one) for one in found or ())
    nodes = [node for node in graph.nodes if not set(node.gives) & made.keys()]
    return replace(graph, nodes=_needed([*nodes, *made.values()], graph))


def _needed(nodes: list[OnnxNode], graph: OnnxGraph) -> tuple[OnnxNode, ...]:
    """Return the nodes that the output is made from."""
    givers = {tensor: node for node in nodes for tensor in node.gives}
    wanted, seen = [graph.end], {graph.end}
    for tensor in wanted:  # grows as it goes
        takes = givers[tensor].takes if tensor in givers else ()
        wanted += [one for one in dict.fromkeys(takes) if one not in seen]
        seen.update(takes)
    return tuple(node for node in nodes if set(node.gives) & seen)


@dataclass(frozen=True, slots=True)
class _File:
    """The graph, and for each tensor the node that gives it and those that take it."""

    graph: OnnxGraph
    giver: Mapping[str, OnnxNode]
    takers: Mapping[str, Sequence[OnnxNode]]

    @classmethod
    def of(cls, graph: OnnxGraph) -> Self:
        takers: defaultdict[str, list[OnnxNode]] = defaultdict(list)
        for node in graph.nodes:
            # one that works the shape out takes nothing away
            for tensor in dict.fromkeys(node.takes if node.kind != "Shape" else ()):
                takers[tensor].append(node)
        giver = {tensor: node for node in graph.nodes for tensor in node.gives}
        return cls(graph, giver, takers)

    def recurrent(self, node: OnnxNode) -> list[OnnxNode] | None:
        """Put a unit together with what brings the batch to the front again."""
        before = self._before(node, "Transpose")
        if before is None or len(node.takes) < 3:
            return None
        order = before.attributes.get("perm")
        if not isinstance(order, tuple) or len(order) != 3 or order[1] != 0:
            return None
        found: tuple[str, dict[str, int]] | None = None
        for tensor, names in zip(node.gives, (_STATES, _LAST_STATE), strict=False):
            for end, last, place in self._ends(tensor, names):
                found = end, {"last": last, "place": place}
        if found is None:
            return None
        end, ending = found
        turned = (0, order[0], order[2])
        entry = f"{node.gives[0]}: batch first"
        states = [*node.takes[1:], *[""] * 5][:5]
        if self._is_zero(states[4]):
            states[4] = ""
        unit = replace(
            node,
            takes=(entry, *states),
            gives=(end,),
            attributes={**node.attributes, **ending},
        )
        first = replace(before, gives=(entry,), attributes={"perm": turned})
        return [first, unit]

    def _ends(
        self, tensor: str, names: tuple[str, ...]
    ) -> Iterator[tuple[str, int, int]]:
        """Yield where all states, or the last, have the batch first, and its place."""
        place = -1
        last = int(names == _LAST_STATE)
        for _ in range(_MOST_STEPS):
            if names in (_ALL, _LAST):
                yield tensor, last, place
            taker = self._only_taker(tensor)
            followed = self._followed(taker, names) if taker else None
            if taker is None or followed is None:
                return
            if "length" in names and "length" not in followed:
                last, place = 1, self._wholes(taker, 1)[0]
            tensor, names = taker.gives[0], followed

    def _followed(
        self, node: OnnxNode, names: tuple[str, ...]
    ) -> tuple[str, ...] | None:
        """Return which axes are left after a node, and in which order."""
        wholes = self._wholes(node, 1)
        rank = len(names)
        match node.kind:
            case "Identity" | "Dropout":
                return names
            case "Transpose":
                order = node.attributes.get("perm")
                if isinstance(order, tuple) and sorted(order) == list(range(rank)):
                    return tuple(names[int(axis)] for axis in order)
            case "Squeeze":
                axes = node.attributes.get("axes", wholes)
                if isinstance(axes, tuple) and len(axes) == 1:
                    return _without(names, axes[0], only=("direction",))
            case "Reshape" if "direction" in names and len(wholes) in (0, rank - 1):
                return _without(names, names.index("direction"), only=("direction",))
            case "Gather" if len(wholes) == 1:
                axis = node.attributes.get("axis", 0)
                if self.graph.constants[node.takes[1]].ndim == 0:
                    return _without(names, axis, only=("direction", "length"))
            case _:
                pass
        return None

    def group_norm(self, node: OnnxNode) -> list[OnnxNode] | None:
        """Put groups, their normalization and the way back together."""
        before, behind = self._before(node, "Reshape"), self._behind(node, "Reshape")
        if before is None or behind is None:
            return None
        groups, first, second = self._wholes(before, 1), *self._floats(node)
        if groups[:1] != (0,) or groups[2:] != (-1,):
            return None
        if first.shape != (groups[1],) or (first != 1).any() or second.any():
            return None
        norm = replace(
            node,
            kind="GroupNormalization",
            takes=(before.takes[0], *node.takes[1:]),
            gives=behind.gives,
            attributes={**node.attributes, "num_groups": groups[1]},
        )
        return [norm]

    def signal_mean(self, node: OnnxNode) -> list[OnnxNode] | None:
        """Put a mean over a signal, made an image for it, together."""
        before, behind = self._before(node, "Unsqueeze"), self._behind(node, "Squeeze")
        if before is None or behind is None:
            return None
        for one in (before, behind):
            if self._wholes(one, 1) not in ((-2,), (2,)):
                return None
        axes = tuple(sorted(self._wholes(node, 1)))
        if axes not in ((-2, -1), (2, 3)) or node.attributes.get("keepdims", 1) != 1:
            return None
        mean = replace(
            node,
            kind="GlobalAveragePool",
            takes=before.takes[:1],
            gives=behind.gives,
            attributes={},
        )
        return [mean]

    def _before(self, node: OnnxNode, kind: str) -> OnnxNode | None:
        """Return the node of that kind which gives the first input, if one does."""
        found = self.giver.get(node.takes[0]) if node.takes else None
        return found if found and found.kind == kind and found.takes else None

    def _behind(self, node: OnnxNode, kind: str) -> OnnxNode | None:
        """Return the node of that kind which alone takes the first output."""
        found = self._only_taker(node.gives[0]) if node.gives else None
        return found if found and found.kind == kind else None

    def _only_taker(self, tensor: str) -> OnnxNode | None:
        takers = self.takers.get(tensor, ())
        alone = len(takers) == 1 and takers[0].takes[0] == tensor and takers[0].gives
        return takers[0] if alone and tensor != self.graph.end else None

    def _wholes(self, node: OnnxNode, place: int) -> tuple[int, ...]:
        """Return a small constant input of whole numbers; () where it is no such."""
        name = node.takes[place] if place < len(node.takes) else ""
        found = self.graph.constants.get(name)
        return () if found is None else few_wholes(found) or ()

    def _floats(self, node: OnnxNode) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return scales and offsets of a normalization; none where they are no such."""
        none = np.empty((0, 0))
        names = (*node.takes, "", "", "")[1:3]
        first, second = (self.graph.constants.get(name, none) for name in names)
        return (first, second) if first.shape == second.shape else (none, none)

    def _is_zero(self, tensor: str) -> bool:
        """Tell whether a tensor is zeros, however large its batch is."""
        for _ in range(_MOST_STEPS):
            if tensor in self.graph.constants:
                return not self.graph.constants[tensor].any()
            node = self.giver.get(tensor)
            if node is None:
                return False
            if node.kind == "ConstantOfShape":
                return node.attributes.get("value", 0.0) == 0.0
            if node.kind not in ("Expand", "Slice") or not node.takes:
                return False
            tensor = node.takes[0]
        return False


def _without(
    names: tuple[str, ...], axis: object, *, only: tuple[str, ...]
) -> tuple[str, ...] | None:
    """Return the axes but one, if it may go."""
    if type(axis) is not int or not -len(names) <= axis < len(names):
        return None
    if names[axis] not in only:
        return None
    place = axis % len(names)
    return (*names[:place], *names[place + 1 :])
