"""The server's books, read from its state folder once it has ended.

The one place of this kit that knows how the server writes its updates down.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from broker_server.records import RoundRecord
from broker_server.store import Store
from tools.chaos.ledger import Entry
from wire_protocol.params import Vector


@dataclass(frozen=True, slots=True)
class Books:
    """What a server remembers of its run."""

    entries: tuple[Entry, ...]
    versions: tuple[int, ...]
    rounds: tuple[RoundRecord, ...]


def read_books(state: Path) -> Books:
    """Read the books in the state folder ``state``.

    Raises:
        EdgefedError: There are none, or they cannot be read.
    """
    with Store.open(state, readonly=True) as store:
        return Books(
            tuple(
                Entry(
                    one.round,
                    one.device,
                    one.transfer,
                    one.merged_version,
                    given_up=one.state == "given up",
                )
                for one in store.ledger()
            ),
            tuple(record.version for record in store.versions()),
            tuple(store.rounds()),
        )


def accuracies(state: Path, judge: Callable[[Vector], float]) -> dict[int, float]:
    """Return the accuracy of every version that can be rebuilt."""
    with Store.open(state, readonly=True) as store:
        return {
            version: judge(store.params(version)) for version in store.rebuildable()
        }
