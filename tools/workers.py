"""Worker processes that do not outlive the one that started them."""

import os
import threading
from multiprocessing import parent_process


def leave_with_parent() -> None:
    """End this worker when its parent ends: nobody would keep what it finds."""
    parent = parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
