"""A small disk for one process: a tmpfs in a mount namespace that others do not see.

A keeper process holds the namespace, so that the disk outlives whoever uses it. As
root that takes ``unshare`` and ``nsenter`` of util-linux; for others also user
namespaces, which some systems forbid.
"""

import asyncio
import errno
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from broker_server import die_with_parent
from tools.demo.children import Child, Children
from wire_protocol.errors import RefusedError

DISK_BYTES: Final = 96 * 1024 * 1024
"""Small, but more than an agent wants to see free before it takes part (64 MiB)."""
_BALLAST: Final = "ballast"
_POLL_S: Final = 0.02
_START_S: Final = 10.0
_CHUNK: Final = bytes(1024 * 1024)
# $1 is the folder, $2 its bytes; the rest is what to become
_MOUNT: Final = (
    'mount -t tmpfs -o "size=$2,mode=0700" tmpfs "$1" && shift 2 && exec "$@"'
)
_USER: Final = ("--user", "--map-root-user")


def why_not() -> str:
    """Return why no small disk can be had here; "" if it can."""
    return _ways()[1]


class SmallDisk:
    """``DISK_BYTES`` mounted at ``folder``, seen by commands with the ``prefix``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self._keeper: Child | None = None
        self._user = False

    async def open(self, children: Children, *, log: Path) -> None:
        """Mount it; it lasts as long as the keeper, one of ``children``.

        Raises:
            RefusedError: It cannot be mounted here.
        """
        options, problem = await asyncio.to_thread(_ways)
        if problem:
            raise RefusedError(problem, remedy="leave this scenario out")
        self._user = bool(options)
        self.folder.mkdir(parents=True, exist_ok=True)
        sleep = shutil.which("sleep")
        assert sleep is not None
        command = [
            *_mounting(options, self.folder),
            # once more: a new user namespace clears what start_child asked for
            *_launcher(),
            *(sleep, "infinity"),
        ]
        self._keeper = await children.start_program("the disk", command, log=log)
        async with asyncio.timeout(_START_S):
            while not self._is_mounted():
                if self._keeper.process.returncode is not None:
                    raise RefusedError(self._keeper.last_words())
                await asyncio.sleep(_POLL_S)

    @property
    def prefix(self) -> tuple[str, ...]:
        """Goes before a command, to let it see the disk."""
        assert self._keeper is not None
        nsenter = shutil.which("nsenter")
        assert nsenter is not None
        user = ("--user", "--preserve-credentials") if self._user else ()
        return (
            *(nsenter, f"--target={self._keeper.process.pid}", "--mount", *user),
            *(f"--wd={Path.cwd()}", "--"),
            *_launcher(),
        )

    @property
    def inside(self) -> Path:
        """The disk as this process reaches it."""
        assert self._keeper is not None
        root = f"/proc/{self._keeper.process.pid}/root"
        return Path(root + str(self.folder))

    def fill(self) -> int:
        """Take all space that is left; return the ballast's bytes."""
        with (self.inside / _BALLAST).open("ab") as ballast:
            for chunk in (_CHUNK, _CHUNK[:4096]):
                try:
                    while True:
                        os.write(ballast.fileno(), chunk)
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
            return ballast.tell()

    def empty(self) -> None:
        """Give the space back."""
        (self.inside / _BALLAST).unlink(missing_ok=True)

    def copy_to(self, folder: Path) -> None:
        """Copy what is on the disk to a folder that everybody sees."""
        self.empty()
        shutil.copytree(self.inside, folder, dirs_exist_ok=True)

    def _is_mounted(self) -> bool:
        try:
            return self.inside.stat().st_dev != self.folder.stat().st_dev
        except OSError:
            return False


def _ways() -> tuple[Sequence[str], str]:
    """Return the options ``unshare`` needs here, and why it cannot; one is empty."""
    for tool in ("unshare", "nsenter", "mount"):
        if shutil.which(tool) is None:
            return (), f"{tool} is not installed - sudo apt install util-linux"
    said = ""
    true = shutil.which("true")
    assert true is not None
    for options in [(), _USER] if os.geteuid() == 0 else [_USER]:
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run(
                [*_mounting(options, Path(folder)), true],
                check=False,
                capture_output=True,
                text=True,
            )
        if done.returncode == 0:
            return options, ""
        said = done.stderr.strip().partition("\n")[0]
    return (), f"no small disk can be mounted here ({said}) - run as root"


def _mounting(options: Sequence[str], folder: Path) -> list[str]:
    unshare, shell = shutil.which("unshare"), shutil.which("sh")
    assert unshare is not None
    assert shell is not None
    return [
        *(unshare, "--mount", *options),
        *(shell, "-c", _MOUNT, shell, str(folder), str(DISK_BYTES)),
    ]


def _launcher() -> tuple[str, ...]:
    return (sys.executable, "-IS", str(die_with_parent.__file__), str(os.getpid()))
