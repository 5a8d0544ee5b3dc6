"""What a device says of itself: that it is here, what it can do, what it is doing."""

from typing import Final

from edge_agent.config import AgentConfig
from edge_agent.probe import Finding
from edge_agent.reporting import state_note, telemetry_note
from edge_agent.session import Idle, State
from wire_protocol.codecs import CODECS
from wire_protocol.framing import frame
from wire_protocol.link import Link, LinkSettings, Will
from wire_protocol.messages import CheckIn
from wire_protocol.topics import Topics

BRIEF_S: Final = 5.0
"""A connection that ends sooner was probably taken over by a device of our name."""


def link_settings(config: AgentConfig, *, first_connection: int = 1) -> LinkSettings:
    """Return how this agent connects, its last will included."""
    fleet, device = config.agent.fleet, config.agent.device
    return LinkSettings(
        config.broker.host,
        config.broker.port,
        identity=f"edgefed-{fleet}-{device}",
        protocol=config.broker.protocol,
        will=Will(Topics(fleet).device(device, "availability"), b"offline"),
        first_connection=first_connection,
    )


class Presence:
    """One device's availability, check-in, state and telemetry, over one link.

    Every call raises ``TransportError`` when the link is down; the next connection
    begins with a check-in anyway.
    """

    def __init__(
        self,
        link: Link,
        *,
        topics: Topics,
        device: str,
        runtime: Finding,
        num_examples: int,
    ) -> None:
        self._link = link
        self._topics = topics
        self._device = device
        self._runtime = runtime
        self._num_examples = num_examples
        self._conn = 0
        self._connections = 0
        self._since = 0.0
        self.up = False
        """Whether there is a connection."""
        self.told_busy = 0
        """The round that the last check-in named; 0 is none."""

    def begin(self, conn: int, *, now: float) -> None:
        """Have a connection, number ``conn``; ``now`` is in seconds."""
        self._conn = conn
        self._connections += 1
        self._since = now
        self.up = True

    def end(self, *, now: float) -> str:
        """Have none any more; hint at the likeliest cause if it was brief again."""
        self.up = False
        if self._connections < 2 or now - self._since > BRIEF_S:
            return ""
        return f" (is another agent running as {self._device!r}?)"

    async def say_online(self) -> None:
        """Say that the device is here."""
        await self._say(b"online", "availability", retain=True)

    async def check_in(self, state: State) -> None:
        """Say what the device can do, and for which round it is at work."""
        self.told_busy = busy_round(state)
        me = CheckIn(
            conn=self._conn,
            runtime=self._runtime.label[:64],
            family=self._runtime.runtime.family,
            codecs=tuple(CODECS),
            num_examples=self._num_examples,
            busy=self.told_busy,
        )
        await self._say(frame(me), "info", retain=True)

    def is_busy_no_more(self, state: State) -> bool:
        """Tell, once, that the last check-in named a round which is over."""
        over = self.told_busy != 0 and busy_round(state) == 0
        if over:
            self.told_busy = 0
        return over

    async def tell_state(self, state: State) -> None:
        """Tell people what the device does now."""
        phase, round_id = summary(state)
        await self._say(
            state_note(phase, round_id=round_id), "state", qos=0, retain=True
        )

    async def tell(self, state: State, *, written_bytes: int) -> None:
        """Tell people the new state, and after a round what it cost."""
        if isinstance(state, Idle):
            await self.tell_cost(state, written_bytes=written_bytes)
        await self.tell_state(state)

    async def tell_cost(self, state: State, *, written_bytes: int) -> None:
        """Tell people what it cost so far."""
        _, round_id = summary(state)
        note = telemetry_note(
            self._link, round_id=round_id, written_bytes=written_bytes
        )
        await self._say(note, "telemetry", qos=0)

    async def _say(
        self, payload: bytes, kind: str, *, qos: int = 1, retain: bool = False
    ) -> None:
        topic = self._topics.device(self._device, kind)
        await self._link.publish(topic, payload, qos=qos, retain=retain)


def busy_round(state: State) -> int:
    """Return the round that ``state`` still works on; 0 is none."""
    return 0 if isinstance(state, Idle) else state.offer.round


def summary(state: State) -> tuple[str, int | None]:
    """Return what people are told of ``state``: its phase and its round."""
    phase = type(state).__name__.lower()
    if isinstance(state, Idle):
        return phase, state.done.round if state.done else None
    return phase, state.offer.round
