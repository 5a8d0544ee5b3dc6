"""What a device says of itself: that it is here, what it can do, what it is doing."""

from typing import TYPE_CHECKING, Final

from edge_agent.config import AgentConfig, BrokerSettings
from edge_agent.examples import ExampleStore, MisfitError
from edge_agent.probe import Finding
from edge_agent.reporting import state_note, telemetry_note
from edge_agent.session import Idle, State
from wire_protocol.codecs import CODECS
from wire_protocol.errors import ConfigError
from wire_protocol.feature_statistics import FeatureStatistics, feature_statistics
from wire_protocol.framing import frame
from wire_protocol.link import Link, LinkSettings, TlsFiles, Will
from wire_protocol.messages import CheckIn
from wire_protocol.tls import files_to_meet, login_of
from wire_protocol.topics import Topics

if TYPE_CHECKING:
    from edge_agent.membership import IdentityFolder

MAX_BACKLOG_BYTES: Final = 10 << 20
"""More than a window of the largest blocks; a flood of sensors' messages is cut off."""
NEWS: Final = 0.2
"""Part by which the number of examples changes before it is told anew."""


def link_settings(
    config: AgentConfig,
    *,
    first_connection: int = 1,
    identity: "IdentityFolder | None" = None,
) -> LinkSettings:
    """Return how this agent connects, its last will included.

    Raises:
        ConfigError: ``identity`` is of another device or fleet, or cannot be read.
        RefusedError: Without it, the broker is another machine.
    """
    fleet, device = config.agent.fleet, config.agent.device
    host, port, tls = "127.0.0.1", 1883, None
    if identity is not None:
        member = identity.membership()
        if (member.fleet, member.device) != (fleet, device):
            raise ConfigError(
                f"{identity.path} makes this device {member.device!r} of fleet "
                f"{member.fleet!r}, not {device!r} of {fleet!r}",
                remedy="correct [agent] device and fleet, or [security] identity_dir",
            )
        host, port, tls = member.host, member.port, identity.tls
    return LinkSettings(
        config.broker.host or host,
        config.broker.port or port,
        identity=f"edgefed-{fleet}-{device}",
        tls=tls_files(config.broker, tls),
        login=login_of(config.broker.username, config.broker.password_file),
        protocol=config.broker.protocol,
        will=Will(Topics(fleet).device(device, "availability"), b"offline"),
        first_connection=first_connection,
        max_backlog_bytes=MAX_BACKLOG_BYTES,
    )


def tls_files(broker: BrokerSettings, member: TlsFiles | None) -> TlsFiles | None:
    """Return how to meet the broker: with ``member``'s files, unless told otherwise.

    Raises:
        ConfigError: TLS is wanted, but nothing says whom to trust.
    """
    if broker.tls is False or (member is None and not broker.tls):
        return None
    return files_to_meet(
        member,
        authority=broker.authority,
        by_name=broker.username is not None,
        remedy="set [broker] authority, or join a fleet",
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
        store: ExampleStore,
    ) -> None:
        self._link = link
        self._topics = topics
        self._device = device
        self._runtime = runtime
        self._store = store
        self._told_examples = 0
        self.conn = 0
        """Number of the connection that is up, or was last."""
        self.channels = 0
        """Of how many channels the server wants statistics; 0: of none."""

    async def say_online(self) -> None:
        """Say that the device is here."""
        await self._say(b"online", "availability", retain=True)

    async def check_in(self, state: State) -> None:
        """Say what the device can do, and for which round it is at work.

        With too few examples it cannot do anything yet, and says nothing.

        Raises:
            MisfitError: The model's inputs have another number of channels.
        """
        count = self._store.count()
        if count < self._store.min_examples:
            return
        self._told_examples = count
        me = CheckIn(
            conn=self.conn,
            runtime=self._runtime.label[:64],
            family=self._runtime.runtime.family,
            codecs=tuple(CODECS),
            num_examples=count,
            busy=busy_round(state),
            statistics=self._statistics() if self.channels else None,
        )
        await self._say(frame(me), "info", retain=True)

    @property
    def has_news(self) -> bool:
        """Whether the number of examples is another than was told, by a fifth."""
        count, told = self._store.count(), self._told_examples
        enough = count >= self._store.min_examples
        return enough and abs(count - told) >= max(1, NEWS * told)

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

    def _statistics(self) -> FeatureStatistics | None:
        x = self._store.training.x
        if x.shape[-1] != self.channels:
            raise MisfitError(
                f"wrong model for the data: its inputs have {self.channels} channels, "
                f"the examples of {self._store.source} have {x.shape[-1]}",
                remedy="give this device examples of the fleet's task, "
                "or let it join another fleet",
            )
        return feature_statistics(x)

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
