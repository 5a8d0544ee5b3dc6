"""Announcer: every message the server publishes, on its topic."""

from broker_server.mailer import Mailer
from broker_server.publications import ServerState
from wire_protocol.framing import frame
from wire_protocol.messages import RoundOffer, ServerInfo, UpdateReceipt
from wire_protocol.topics import Topics


class Announcer:
    """Publishes through a mailer; all but receipts is retained."""

    def __init__(self, mailer: Mailer, topics: Topics) -> None:
        self._post = mailer.post
        self._topics = topics

    def greet(self, info: ServerInfo) -> None:
        """Say that the server is here, and what devices must know of it."""
        self._post(self._topics.server_availability, b"online", retain=True)
        self._post(self._topics.server_info, frame(info), retain=True)

    def offer(self, offer: RoundOffer) -> None:
        """Invite the cohort."""
        self._post(self._topics.round(offer.round), frame(offer), retain=True)

    def clear(self, number: int) -> None:
        """Close round ``number`` for whoever looks at its topic."""
        self._post(self._topics.round(number), b"", retain=True)

    def receipt(self, device: str, receipt: UpdateReceipt) -> None:
        """Answer an update."""
        self._post(self._topics.device(device, "cmd", "receipt"), frame(receipt))

    def state(self, state: ServerState) -> None:
        """Show people how things stand."""
        self._post(self._topics.server_state, state.to_json(), retain=True)
