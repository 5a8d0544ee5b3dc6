"""A graph walked from its output back to its input, if it is a row of layers. Pure.

The only branch there may be is a shortcut: an addition of what some layers give to what
they were given.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from model_zoo.importing.network import MAX_LAYERS, CannotError

MAX_STEPS: Final = 10_000
MAX_NESTING: Final = 20


@dataclass(frozen=True, slots=True)
class Node:
    """A layer of the file: its name, and the names of the tensors it takes."""

    name: str
    takes: tuple[str, ...]
    is_sum: bool = False


@dataclass(frozen=True, slots=True)
class Shortcut:
    """``x`` plus what ``inner`` makes of it; ``name`` is the addition's."""

    name: str
    inner: "Row"


Row = tuple[str | Shortcut, ...]
"""Names of nodes in order, with shortcuts between them."""


def row_of(nodes: Mapping[str, Node], *, start: str, end: str) -> Row:
    """Return the row of nodes that leads from the tensor ``start`` to ``end``.

    Args:
        nodes: By the name of the tensor they give.
        start: The input.
        end: The output.

    Raises:
        CannotError: There is no such row.
    """
    steps = 0

    def walk(tensor: str, until: str, depth: int) -> Row | None:
        nonlocal steps
        row: list[str | Shortcut] = []
        while tensor != until:
            steps += 1
            if steps > MAX_STEPS or depth > MAX_NESTING:
                raise CannotError("the network's graph is too entangled")
            node = nodes.get(tensor)
            if node is None:
                return None
            if node.is_sum and len(node.takes) == 2:
                found = _shortcut(node, walk, depth + 1)
                if found is None:
                    raise CannotError(
                        f"{node.name:.80} joins two branches, neither of which goes "
                        "straight on"
                    )
                row.append(found[0])
                tensor = found[1]
            elif len(node.takes) == 1:
                row.append(tensor)
                tensor = node.takes[0]
            else:
                raise CannotError(
                    f"{node.name:.80} joins {len(node.takes)} branches; layers must "
                    "be in a row"
                )
        return tuple(reversed(row))

    if len(nodes) > MAX_LAYERS:
        raise CannotError(f"{len(nodes)} layers are more than {MAX_LAYERS}")
    row = walk(end, start, 0)
    if row is None:
        raise CannotError("no row of layers leads from the input to the output")
    return row


def _shortcut(
    node: Node, walk: Callable[[str, str, int], Row | None], depth: int
) -> tuple[Shortcut, str] | None:
    for straight, branch in (node.takes, node.takes[::-1]):
        try:
            inner = walk(branch, straight, depth)
        except CannotError:
            inner = None
        if inner:
            return Shortcut(node.name, inner), straight
    return None
