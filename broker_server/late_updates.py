"""Late updates: what the store knows of earlier rounds, as the intake asks for it."""

from collections.abc import Callable

from broker_server.acceptance import Terms, late_terms
from broker_server.conduct import Conduct
from broker_server.config import ServerConfig
from broker_server.outlets import Memory
from broker_server.store import Store


def memory_of(
    store: Store, config: ServerConfig, *, layout: str, tip: Callable[[], int]
) -> Memory:
    """Return the memory of ``store``; ``tip`` tells the newest version, now."""

    def terms(number: int) -> Terms:
        return late_terms(
            store.terms(number),
            tip=tip(),
            max_staleness=config.round.max_staleness,
            layout=layout,
            codec=config.codec.uplink,
        )

    log = store.update_log
    return Memory(
        receipt=log.receipt,
        last_receipt=log.last_receipt,
        accepted=lambda number, device: log.transfer(number, device) is not None,
        terms=terms,
        barred=Conduct(config, store).is_barred,
    )
