"""What PyTorch exports, imported: whether it is, and whether it computes the same.

    make bench-imports

Small networks of every layer that is supported here, written as ONNX by both exporters
of PyTorch, for one batch size and for any, in ``.venv-peer`` (made at the first run;
torch from PyPI brings gigabytes of CUDA along). Each is imported as ``edgefed zoo
import`` does, which compares outputs on numpy, LiteRT and ONNX Runtime with the file's.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from model_zoo.importing.conversion import convert
from tools.peer_environment import ROOT, peer_python
from wire_protocol.errors import ConfigError

PEER: Final = ("torch", "numpy", "onnx", "onnxscript")
_EXPORTERS: Final = ("older", "older-any-batch", "newer", "newer-any-batch")


def imported(path: Path, folder: Path) -> float | None:
    """Return the largest difference of outputs on any runtime; None: it is refused."""
    try:
        done = convert(path, folder=folder, name="imported")
    except ConfigError as error:
        print(f"{path.name}: {error}", file=sys.stderr)
        return None
    return max(done.differences.values())


def main(argv: Sequence[str] | None = None) -> int:
    """Export, import and print; 1 where anything was refused."""
    argparse.ArgumentParser(prog="bench_imports", description=__doc__).parse_args(argv)
    python = peer_python(*PEER)
    refused = 0
    with tempfile.TemporaryDirectory() as scratch:
        exports = Path(scratch) / "exports"
        exports.mkdir()
        script = ROOT / "tools/peer_exports.py"
        done = subprocess.run(
            [python, script, exports], check=False, capture_output=True, text=True
        )
        if done.returncode:
            sys.exit(f"PyTorch did not export: {done.stderr[-2000:]}")
        print(f"{'largest difference':<20}" + "".join(f"{e:>18}" for e in _EXPORTERS))
        for name in sorted({path.name.split(".")[0] for path in exports.iterdir()}):
            cells = []
            for exporter in _EXPORTERS:
                path = exports / f"{name}.{exporter}.onnx"
                found = imported(path, Path(scratch) / path.stem)
                refused += found is None
                cells.append("refused" if found is None else f"{found:.0e}")
            print(f"{name:<20}" + "".join(f"{cell:>18}" for cell in cells), flush=True)
    return int(refused > 0)


if __name__ == "__main__":
    sys.exit(main())
