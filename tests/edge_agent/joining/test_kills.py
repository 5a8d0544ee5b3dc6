"""Killed at any file operation, a device joins with the same token all the same.

A fork of the test joins, and kills itself by SIGKILL just before its n-th renaming or
removal of a file: the interpreter's audit events tell of each.
"""

import os
import signal
import sys
from pathlib import Path

import pytest

from tests.edge_agent.joining.joins import identity_of, joined
from tests.edge_agent.joining.scripted_desk import ScriptedDesk
from wire_protocol.tls import client_context

CHANGES = ("os.rename", "os.remove", "os.rmdir")
MOST = 60


def joins_until(change: int, folder: Path, desk: ScriptedDesk, *, anew: bool) -> bool:
    """Join in a fork that dies before ``change``; whether it lived to the end."""
    child = os.fork()
    if child == 0:
        seen = 0

        def count(event: str, _: object) -> None:
            nonlocal seen
            if event in CHANGES:
                if seen == change:
                    os.kill(os.getpid(), signal.SIGKILL)
                seen += 1

        try:
            sys.addaudithook(count)
            joined(folder, desk, anew=anew)
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return False
    assert os.waitstatus_to_exitcode(status) == 0
    return True


@pytest.mark.slow
@pytest.mark.parametrize("anew", [False, True], ids=["first", "anew"])
def test_killed_at_any_change_a_device_joins_with_the_same_token(
    tmp_path: Path, *, anew: bool
) -> None:
    for change in range(MOST):
        folder = tmp_path / str(change)
        folder.mkdir()
        desk = ScriptedDesk(folder / "book.json")
        if anew:
            joined(folder, desk)
            desk.open_another()
        lived = joins_until(change, folder, desk, anew=anew)
        taken = desk.taken_by
        identity = identity_of(folder)
        if identity.joined:  # as it was or as it will be, never a mixture
            client_context(identity.tls)
        if not lived:
            joined(folder, desk, anew=anew)
        assert taken in (None, desk.taken_by)
        assert identity.signer.public.hex() == desk.taken_by
        client_context(identity.tls)
        assert not (identity.path / "joining").exists()
        if lived:
            assert change > 10
            return
    pytest.fail("it never came to its end")
