"""Storage trouble: the disk is full, unreadable or locked, for now.

Unlike damage it may pass: a running server waits and tries again, as if it had been
killed and restarted. This module is pure.
"""

from wire_protocol.errors import RefusedError

REMEDY = "free some disk space, or correct the rights of [server] state_dir"


class StorageError(RefusedError):
    """The state folder cannot be written or read at the moment; worth trying again."""
