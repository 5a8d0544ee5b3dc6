"""The same targets under atheris, libFuzzer for Python: guided by coverage.

    pip install atheris
    make fuzz ARGS='--engine atheris --target manifest --inputs 200000'

It has wheels for x86-64 alone, so it is nobody's dependency. Each target runs in a
process that imports it anew, instrumented, and ends at its first defect.
"""

import argparse
import contextlib
import importlib
import importlib.util
import logging
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any, Final

from tools.fuzz.target import Target
from wire_protocol.errors import ConfigError

_INSTRUMENTED: Final = ("wire_protocol", "broker_server", "edge_agent")


def run_all(targets: Sequence[Target], *, inputs: int, seed: int) -> int:
    """Run every target in a process of its own; return 1 if one has a defect.

    Raises:
        ConfigError: atheris is not installed.
    """
    if importlib.util.find_spec("atheris") is None:
        raise ConfigError(
            "the engine atheris is not installed",
            remedy="pip install atheris (x86-64 alone), or use --engine own",
        )
    failed = 0
    for target in targets:
        words = [target.name, "--inputs", str(round(inputs * target.share))]
        command = [sys.executable, "-m", "tools.fuzz.with_atheris", *words]
        failed |= subprocess.run(
            [*command, "--seed", str(seed)], check=False
        ).returncode
    return 1 if failed else 0


def main(argv: Sequence[str] | None = None) -> None:
    """Run one target; ends the process, with another code than 0 on a defect."""
    parser = argparse.ArgumentParser(prog="with_atheris")
    parser.add_argument("target")
    parser.add_argument("--inputs", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    args = parser.parse_args(argv)
    logging.disable()
    atheris: Any = importlib.import_module("atheris")
    for name in [one for one in sys.modules if one.split(".")[0] in _INSTRUMENTED]:
        del sys.modules[name]  # to be imported again, instrumented
    for name in [one for one in sys.modules if one.startswith("tools.fuzz.")]:
        del sys.modules[name]
    with atheris.instrument_imports(include=list(_INSTRUMENTED)):
        targets = importlib.import_module("tools.fuzz.targets")
    target: Target = targets.target_named(args.target)
    with tempfile.TemporaryDirectory() as name:
        corpus = Path(name) / "corpus"
        corpus.mkdir()
        for index, seed in enumerate(target.seeds):
            (corpus / str(index)).write_bytes(seed)
        entry = target.open(Path(name))

        def meet(raw: bytes) -> None:
            with contextlib.suppress(*target.typed):
                entry(raw)

        def mutate(raw: bytes, max_size: int, seed: int) -> bytes:
            rng = Random(seed)  # noqa: S311 - to be repeated
            if rng.random() < 0.5:
                return bytes(atheris.Mutate(raw, max_size))
            return target.shape.mutated(raw, rng=rng)[:max_size]

        limits = [f"-runs={args.inputs}", f"-max_len={target.max_bytes}"]
        atheris.Setup(
            [sys.argv[0], *limits, f"-seed={args.seed + 1}", str(corpus)],
            meet,
            custom_mutator=mutate,
        )
        atheris.Fuzz()


if __name__ == "__main__":
    main()
