"""Stop signals: SIGTERM and Ctrl-C end a command in order."""

import asyncio
import signal

from wire_protocol.errors import INTERRUPTED


class StopSignals:
    """Listens from when it is made, in a running event loop."""

    def __init__(self) -> None:
        self.came = asyncio.Event()
        """Set by the first signal."""
        self.exit_code = 0
        """What the command ends with: 130 after Ctrl-C."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._note, number)

    def _note(self, number: int) -> None:
        if number == signal.SIGINT:
            self.exit_code = INTERRUPTED
        self.came.set()
