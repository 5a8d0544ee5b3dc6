"""Announcer: every message the server publishes, on its topic."""

from typing import Final

from broker_server.mailer import Mailer, Repetition
from broker_server.publications import ServerState
from wire_protocol.blobs import Need
from wire_protocol.framing import frame
from wire_protocol.messages import RoundOffer, ServerInfo, UpdateReceipt
from wire_protocol.topics import Topics

OFFER_PATIENCE: Final = 5
"""Resend times before an offer is repeated; most rounds are over by then."""


class Announcer:
    """Publishes through a mailer; all but receipts and needs is retained.

    An offer is repeated, at growing intervals, until it is cleared: a broker may lose
    it, and without it the whole cohort would be waited for in vain.
    """

    def __init__(self, mailer: Mailer, topics: Topics, *, resend_s: float) -> None:
        self._post = mailer.post
        self._repeat = mailer.repeat
        self._repeat_s = OFFER_PATIENCE * resend_s
        self._topics = topics
        self._repeating: dict[int, Repetition] = {}

    def greet(self, info: ServerInfo) -> None:
        """Say that the server is here, and what devices must know of it."""
        self._post(self._topics.server_availability, b"online", retain=True)
        self._post(self._topics.server_info, frame(info), retain=True)

    def offer(self, offer: RoundOffer) -> None:
        """Invite the cohort."""
        self._stop_repeating(offer.round)
        self._repeating[offer.round] = self._repeat(
            self._topics.round(offer.round), frame(offer), after_s=self._repeat_s
        )

    def clear(self, number: int) -> None:
        """Close round ``number`` for whoever looks at its topic."""
        self._stop_repeating(number)
        self._post(self._topics.round(number), b"", retain=True)

    def pause(self) -> None:
        """Repeat nothing until it is offered anew; what is retained stays."""
        for number in list(self._repeating):
            self._stop_repeating(number)

    def receipt(self, device: str, receipt: UpdateReceipt) -> None:
        """Answer an update."""
        self._post(self._topics.device(device, "cmd", "receipt"), frame(receipt))

    def need(self, device: str, need: Need) -> None:
        """Ask a device for blocks of its update."""
        self._post(self._topics.device(device, "cmd", "need"), frame(need))

    def state(self, state: ServerState) -> None:
        """Show people how things stand."""
        self._post(self._topics.server_state, state.to_json(), retain=True)

    def _stop_repeating(self, number: int) -> None:
        if number in self._repeating:
            self._repeating.pop(number).cancel()
