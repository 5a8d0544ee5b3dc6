"""Receipts: the answers given to updates, so that a repeated update is answered again.

A receipt may be lost on the way; the device then sends the same update again, perhaps
after its round is over. This module is pure.
"""

from collections import OrderedDict
from typing import Final

from wire_protocol.messages import UpdateReceipt

MAX_RECEIPTS: Final = 4096


class Receipts:
    """The newest receipts, by device and transfer."""

    def __init__(self) -> None:
        self._given: OrderedDict[tuple[str, str], UpdateReceipt] = OrderedDict()

    def note(self, device: str, receipt: UpdateReceipt) -> None:
        """Remember ``receipt`` as the one that holds."""
        key = (device, receipt.transfer)
        self._given[key] = receipt
        self._given.move_to_end(key)
        while len(self._given) > MAX_RECEIPTS:
            self._given.popitem(last=False)

    def last(self, device: str) -> UpdateReceipt | None:
        """Return the newest receipt of ``device``, if it ever got one."""
        newest_first = reversed(self._given.items())
        return next((given for (who, _), given in newest_first if who == device), None)

    def find(self, device: str, transfer: str) -> UpdateReceipt | None:
        """Return what was answered to this update, if anything was."""
        return self._given.get((device, transfer))
