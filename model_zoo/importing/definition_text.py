"""The text of ``definition.py`` for an imported network, to be read and changed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from model_zoo.importing.constructors import MODULES
from model_zoo.importing.network import Network, Operation, Value
from wire_protocol.manifest import Task

_TEXT: Final = '''\
"""``{name}``: imported from {file}, with its weights in ``initial.f32``.

Weights and layers belong together: to start anew with other layers, remove
``initial.f32``. Then: edgefed zoo build FOLDER.
"""

from typing import Final

{imports}

PLAN: Final = PlanDefaults(rounds=10, epochs=1, learning_rate=0.01, momentum=0.9)

MODEL: Final = Model(
    name="{name}",
    data="{name}",
    input_shape={input_shape},
    outputs={outputs},
    batch={batch},
    task="{task}",
    spread={spread!r},{more}
    layers=(
{layers}
    ),
    plan=PLAN,
)
'''


@dataclass(frozen=True, slots=True)
class Named:
    """What is not in the network itself."""

    name: str
    file: str
    task: Task
    outputs: int
    batch: int
    spread: float


def definition_text(network: Network, named: Named) -> str:
    """Return the module's text; equal networks give equal texts."""
    kinds = _kinds(network.operations)
    names: dict[str, set[str]] = {"model_zoo.model": {"Model", "PlanDefaults"}}
    for kind in kinds:
        names.setdefault(MODULES[kind], set()).add(kind)
    if any(operation.frozen for operation in network.operations):
        names.setdefault("model_zoo.layers", set()).add("frozen")
    imports = "\n".join(
        f"from {module} import {', '.join(sorted(found))}"
        for module, found in sorted(names.items())
    )
    return _TEXT.format(
        name=named.name,
        file=ascii(named.file)[1:-1].replace('"', "'"),
        imports=imports,
        input_shape=network.input_shape,
        outputs=named.outputs,
        batch=named.batch,
        spread=named.spread,
        task=named.task,
        more=f"\n    tokens={network.tokens}," if network.tokens else "",
        layers="\n".join(_lines(network.operations, depth=2)),
    )


def _kinds(operations: Sequence[Operation]) -> set[str]:
    found = {operation.kind for operation in operations}
    return found.union(*(_kinds(operation.inner) for operation in operations))


def _lines(operations: Sequence[Operation], *, depth: int) -> list[str]:
    space = "    " * depth
    lines = []
    for operation in operations:
        if operation.inner:
            lines.append(f"{space}{operation.kind}(")
            lines += _lines(operation.inner, depth=depth + 1)
            lines.append(f"{space}),")
            continue
        args = [repr(arg) for arg in operation.args]
        args += [
            f"{key}={_text(value)}"
            for key, value in operation.options.items()
            if (key, value) != ("stride", 1)
        ]
        call = f"{operation.kind}({', '.join(args)})"
        lines.append(f"{space}{f'frozen({call})' if operation.frozen else call},")
    return lines


def _text(value: Value) -> str:
    return f'"{value}"' if isinstance(value, str) else repr(value)
