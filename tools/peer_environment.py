"""``.venv-peer``: what we measure ourselves against, in an environment of its own.

Made at the first run, and shared by all benchmarks; each peer is installed once.
"""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
_ENVIRONMENT: Final = ROOT / ".venv-peer"


def peer_python(*requirements: str) -> Path:
    """Return the peers' interpreter, with ``requirements``, as pip takes them."""
    python = _ENVIRONMENT / "bin/python"
    marks = [(one, _ENVIRONMENT / f".{one.replace('/', '-')}") for one in requirements]
    missing = [(one, mark) for one, mark in marks if not mark.exists()]
    if not missing:
        return python
    wanted = " ".join(one for one, _ in missing)
    print(
        f"installing {wanted} into {_ENVIRONMENT.relative_to(ROOT)} (once, minutes)",
        file=sys.stderr,
    )
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "-qq"]
    try:
        if not python.exists():
            _run([sys.executable, "-m", "venv", str(_ENVIRONMENT)])
        _run([*pip, "install", *(one for one, _ in missing)])
    except subprocess.CalledProcessError:
        sys.exit(f"{wanted} cannot be installed - is PyPI in reach?")
    for _, done in missing:
        done.touch()
    return python


def _run(words: Sequence[str]) -> None:
    subprocess.run(words, check=True)
