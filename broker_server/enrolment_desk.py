"""The enrolment desk: where devices ask to join, and members for a new certificate.

Letters are limited in size and number before they are looked into. They are answered in
a thread, many at a time, while rounds go on: what is slow about a certificate is that
it must be on the disk before its device hears of it.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable
from typing import Final

from broker_server.clocks import Clocks
from broker_server.complaints import Complaints
from broker_server.enrolment_rules import is_claim
from broker_server.fleet_folder import FleetFolder, RandomBytes
from broker_server.limits import Meters, Rate
from broker_server.vouching import MAX_LETTER_BYTES, Answer, Letter, Terms, answer_all
from wire_protocol.errors import ConfigError, DecodeError, Reason

EVERYBODY: Final = Rate(per_s=20.0, burst=200.0)
EACH: Final = Rate(per_s=1.0, burst=5.0)
MAX_NAMES: Final = 2000
"""Claims and members whose letters are counted apart."""
BATCH: Final = 16
"""Letters that are answered together; the folder is ours for as long."""
MOST_WAITING: Final = 512
_log = logging.getLogger("edgefed.server")


class EnrolmentDesk:
    """Takes letters in, and answers them.

    Args:
        folder: The fleet's.
        answered: Is told what became of letters; it publishes the answers.
        days: How long certificates hold.
        clocks: ``wall`` for certificates, ``steady`` for limits.
        random: Where serial numbers come from.
    """

    def __init__(
        self,
        folder: FleetFolder,
        *,
        answered: Callable[[list[Answer]], None],
        days: float,
        clocks: Clocks,
        random: RandomBytes = secrets.token_bytes,
    ) -> None:
        self._folder = folder
        self._answered = answered
        self._days = days
        self._clocks = clocks
        self._random = random
        self._everybody = Meters(EVERYBODY, most_names=1)
        self._each = Meters(EACH, most_names=MAX_NAMES)
        self._complain = Complaints(clocks.steady, most_names=MAX_NAMES).about
        self._over = 0
        self._waiting: list[Letter] = []
        self._came = asyncio.Event()

    def take_request(self, claim: str, payload: bytes) -> None:
        """Take a request to join, which came on the topic of ``claim``.

        Raises:
            DecodeError: It is not looked into.
        """
        if not is_claim(claim):
            raise DecodeError(f"{claim!r:.60} is no claim")
        self._take(Letter("claim", claim, payload))

    def take_renewal(self, device: str, payload: bytes) -> None:
        """Take a member's request for a new certificate.

        Raises:
            DecodeError: It is not looked into.
        """
        self._take(Letter("member", device, payload))

    async def run(self) -> None:
        """Answer letters as they come, for ever."""
        while True:
            await self._came.wait()
            batch, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
            if not self._waiting:
                self._came.clear()
            terms = Terms(self._days, self._clocks.wall(), self._random)
            try:
                answers = await asyncio.to_thread(
                    answer_all, self._folder, batch, terms=terms
                )
            except ConfigError as error:
                self._complain("folder", f"nobody can join: {error}")
                continue
            for answer in answers:
                self._tell(answer)
            self._answered(answers)

    def _take(self, letter: Letter) -> None:
        size = len(letter.payload)
        if size > MAX_LETTER_BYTES:
            raise DecodeError(
                f"a request has up to {MAX_LETTER_BYTES} bytes, not {size}",
                reason=Reason.TOO_LARGE,
            )
        now = self._clocks.steady()
        admitted = (
            len(self._waiting) < MOST_WAITING
            and self._each.take(letter.name, 1, now=now)
            and self._everybody.take("all", 1, now=now)
        )
        if not admitted:
            self._over += 1
            told = f"{self._over} requests to join were dropped: too many at once"
            if self._complain("over", told):
                self._over = 0
            raise DecodeError("too many requests", reason=Reason.OVER_LIMIT)
        if letter not in self._waiting:  # repeated while it waits
            self._waiting.append(letter)
            self._came.set()

    def _tell(self, answer: Answer) -> None:
        if answer.reason is Reason.ACCEPTED:
            if answer.told:
                _log.info("%s", answer.told)
        elif answer.trouble:
            self._complain("trouble", f"cannot be written down: {answer.told}")
        else:
            self._complain(answer.name, f"refused to vouch for {answer.told}")
