"""The server's settings, read once from ``server.toml`` and checked on construction.

``firmware_configs/examples/server.toml`` shows every key.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from broker_server.guard_settings import GuardSection
from broker_server.records import Mode
from wire_protocol.blobs import MAX_BLOCK_BYTES, MAX_WINDOW, MIN_BLOCK_BYTES
from wire_protocol.codecs import codec_named
from wire_protocol.errors import ConfigError, DecodeError, RefusedError
from wire_protocol.messages import MAX_STALENESS, TrainingPlan
from wire_protocol.settings import check_login, check_secure, load_settings
from wire_protocol.topics import check_name


@dataclass(frozen=True, slots=True)
class ServerSection:
    """Who this server is and where it keeps its state."""

    state_dir: Path
    fleet: str = "home"
    seed: int = 0
    block_bytes: int = 32_768
    window: int = 8
    resend_s: float = 2.0

    def __post_init__(self) -> None:
        check_name(self.fleet, what="fleet")
        _check_range("seed", self.seed, least=0, most=2**53)
        _check_range(
            "block_bytes",
            self.block_bytes,
            least=MIN_BLOCK_BYTES,
            most=MAX_BLOCK_BYTES,
        )
        _check_range("window", self.window, least=1, most=MAX_WINDOW)
        _check_range("resend_s", self.resend_s, least=0.05, most=3600)


@dataclass(frozen=True, slots=True)
class BrokerSection:
    """Which MQTT broker to use; without ``host`` the server starts its own.

    Attributes:
        host: Its name or address.
        port: Unset: 1883; with TLS the fleet's, 8883 unless it was founded otherwise.
        listen: Where one that is started for a fleet listens: an address of this
            machine, or "*" for all, of IPv6 too; unset: all of IPv4.
        embedded: Whether to start it.
        kind: Of one that is started.
        protocol: Of MQTT.
        tls: Whether to use TLS; unset: if there is a fleet, see ``SecuritySection``.
        authority: Whose certificates the broker shows; unset: the fleet's.
        username: For brokers that know no certificates.
        password_file: Of ``username``, for its owner only.
    """

    host: str | None = None
    port: int | None = None
    listen: str | None = None
    embedded: bool | None = None
    kind: Literal["auto", "mosquitto", "amqtt"] = "auto"
    protocol: Literal["auto", "5", "3.1.1"] = "auto"
    tls: bool | None = None
    authority: Path | None = None
    username: str | None = None
    password_file: Path | None = None

    def __post_init__(self) -> None:
        check_login(self.username, self.password_file)
        least = 0 if self.starts_own else 1
        if self.port is not None:
            _check_range("port", self.port, least=least, most=65_535)
        if self.listen is not None and not self.starts_own:
            raise ConfigError(
                f"[broker] listen = {self.listen!r:.60} is for a broker that the "
                "server starts, and this one is there",
                remedy="leave listen out, or host",
            )

    @property
    def address(self) -> str:
        """Where the broker listens."""
        return "127.0.0.1" if self.host is None else self.host

    @property
    def starts_own(self) -> bool:
        """Whether the broker is a child of the server."""
        return self.host is None if self.embedded is None else self.embedded


@dataclass(frozen=True, slots=True)
class SecuritySection:
    """Who belongs to the fleet.

    Attributes:
        fleet_dir: What ``edgefed fleet init`` made. Without it everybody on this
            machine may take part, and nobody else.
        certificate_days: How long a device's certificate holds; it is renewed when a
            third of that is left.
    """

    fleet_dir: Path | None = None
    certificate_days: float = 365.0

    def __post_init__(self) -> None:
        _check_range("certificate_days", self.certificate_days, least=0.01, most=3650)


@dataclass(frozen=True, slots=True)
class ModelSection:
    """Which training artifact: a folder with a manifest, or a name of the zoo."""

    artifact: str


@dataclass(frozen=True, slots=True)
class RoundSection:
    """How rounds are held.

    Attributes:
        mode: "sync" waits for a cohort; "buffered" invites whoever is free, and merges
            whenever ``buffer`` updates have come, late or not.
        buffer: How many updates make a merge in buffered mode.
        rounds: At which version to end; 0 is never.
        fraction: Part C of the eligible devices whose updates make a merge.
        devices: How many must be online before the first round.
        minimum: With fewer accepted updates a round fails.
        goal: How many updates make a merge, instead of ``fraction``; 0 leaves it that.
        over_select: How many times as many devices are invited as make a merge.
        deadline_s: When a round merges or fails, whoever is missing.
        max_staleness: How many versions old the base of a late update may be; 0
            refuses every update that comes after its round.
        evaluate: Whether devices judge the model on their hold-outs every round.
    """

    mode: Mode = "sync"
    buffer: int = 8
    rounds: int = 0
    fraction: float = 1.0
    devices: int = 1
    minimum: int = 1
    goal: int = 0
    over_select: float = 1.25
    deadline_s: float = 600.0
    max_staleness: int = 8
    evaluate: bool = True

    def __post_init__(self) -> None:
        _check_range("buffer", self.buffer, least=1, most=500)
        _check_range("rounds", self.rounds, least=0, most=2**31)
        _check_range("fraction", self.fraction, least=0.0, most=1.0)
        _check_range("devices", self.devices, least=1, most=500)
        _check_range("minimum", self.minimum, least=1, most=500)
        _check_range("goal", self.goal, least=0, most=500)
        _check_range("over_select", self.over_select, least=1.0, most=10.0)
        _check_range("deadline_s", self.deadline_s, least=0.1, most=1e7)
        _check_range("max_staleness", self.max_staleness, least=0, most=MAX_STALENESS)
        if 0 < self.goal < self.minimum:
            raise ConfigError(
                f"goal {self.goal} is under minimum {self.minimum}",
                remedy="raise goal, lower minimum, or set goal = 0 (whole cohort)",
            )
        if self.mode == "buffered" and not self.max_staleness:
            raise ConfigError(
                'mode "buffered" lives on late updates, max_staleness 0 refuses them',
                remedy='raise max_staleness, or set mode = "sync"',
            )


@dataclass(frozen=True, slots=True)
class PlanSection:
    """Local training: see ``TrainingPlan``."""

    epochs: int = 1
    learning_rate: float = 0.05
    momentum: float = 0.9
    mu: float = 0.0

    def __post_init__(self) -> None:
        _check_range("epochs", self.epochs, least=1, most=10_000)
        _check_range("learning_rate", self.learning_rate, least=0.0, most=1e3)
        _check_range("momentum", self.momentum, least=0.0, most=1.0)
        _check_range("mu", self.mu, least=0.0, most=1e3)


@dataclass(frozen=True, slots=True)
class CodecSection:
    """How deltas are encoded, up from devices and down to them."""

    uplink: str = "uq"
    downlink: str = "uq:1"

    def __post_init__(self) -> None:
        for key, name in (("uplink", self.uplink), ("downlink", self.downlink)):
            try:
                codec_named(name)
            except DecodeError as error:
                raise ConfigError(
                    f"{key}: {error.problem}", remedy='use "uq" or "f32"'
                ) from error


@dataclass(frozen=True, slots=True)
class OptimizerSection:
    """How the mean delta moves the global model; beta only matters to FedAvgM."""

    name: Literal["fedavgm", "fedavg"] = "fedavgm"
    beta: float = 0.5
    learning_rate: float = 1.0

    def __post_init__(self) -> None:
        _check_range("beta", self.beta, least=0.0, most=0.999)
        _check_range("learning_rate", self.learning_rate, least=1e-6, most=100.0)


@dataclass(frozen=True, slots=True)
class ConvergenceSection:
    """When learning has ended: ``patience`` rounds without a gain; 0 is never."""

    patience: int = 0
    tolerance: float = 0.001

    def __post_init__(self) -> None:
        _check_range("patience", self.patience, least=0, most=2**31)
        _check_range("tolerance", self.tolerance, least=0.0, most=1e6)


@dataclass(frozen=True, slots=True)
class LimitsSection:
    """What one device may do; what is over is dropped and counted.

    Attributes:
        messages_per_s: That it may send for ever.
        burst_messages: That it may send at once, beside the blocks of its updates.
        bytes_per_s: That it may send for ever, and as many that it may ask for.
        burst_bytes: The same at once, beside its updates.
        transfers: Unfinished updates that are kept for it.
    """

    messages_per_s: float = 200.0
    burst_messages: int = 2000
    bytes_per_s: int = 8 << 20
    burst_bytes: int = 64 << 20
    transfers: int = 2

    def __post_init__(self) -> None:
        _check_range("messages_per_s", self.messages_per_s, least=1, most=1e6)
        _check_range("burst_messages", self.burst_messages, least=100, most=10**7)
        # a block of the largest size must always find room
        _check_range("bytes_per_s", self.bytes_per_s, least=1024, most=2**40)
        _check_range("burst_bytes", self.burst_bytes, least=1 << 20, most=2**40)
        _check_range("transfers", self.transfers, least=1, most=16)


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """All of ``server.toml``."""

    server: ServerSection
    model: ModelSection
    broker: BrokerSection = field(default_factory=BrokerSection)
    security: SecuritySection = field(default_factory=SecuritySection)
    round: RoundSection = field(default_factory=RoundSection)
    plan: PlanSection = field(default_factory=PlanSection)
    codec: CodecSection = field(default_factory=CodecSection)
    optimizer: OptimizerSection = field(default_factory=OptimizerSection)
    convergence: ConvergenceSection = field(default_factory=ConvergenceSection)
    limits: LimitsSection = field(default_factory=LimitsSection)
    guard: GuardSection = field(default_factory=GuardSection)

    def __post_init__(self) -> None:
        check_secure(
            self.broker.address,
            identified=self.security.fleet_dir is not None,
            tls=self.uses_tls,
            remedy="make a fleet with 'edgefed fleet init' and name its folder in "
            "[security] fleet_dir",
        )
        self._check_own_broker()
        self.guard.check_codec(self.codec.uplink)
        if self.convergence.patience and not self.round.evaluate:
            raise ConfigError(
                "[convergence] patience needs the devices' evaluations",
                remedy="set [round] evaluate = true, or patience = 0",
            )

    def _check_own_broker(self) -> None:
        broker = self.broker
        if self.guards_own and broker.kind == "amqtt":
            raise RefusedError(
                "amqtt is for development on one machine, and knows no certificates",
                remedy="leave [broker] kind out: sudo apt install mosquitto",
            )
        if broker.listen is not None and not self.guards_own:
            raise RefusedError(
                "without a fleet and TLS the server's broker is for this machine only",
                remedy="leave [broker] listen out, or make a fleet with "
                "'edgefed fleet init' and name its folder in [security] fleet_dir",
            )

    @property
    def guards_own(self) -> bool:
        """Whether it starts a broker for its fleet, by TLS; see ``fleet_broker``."""
        fleet = self.security.fleet_dir is not None
        return self.broker.starts_own and fleet and self.uses_tls

    @property
    def listen(self) -> str:
        """Where that broker listens."""
        return self.broker.listen or "0.0.0.0"  # noqa: S104 - certificates guard it

    @property
    def uses_tls(self) -> bool:
        """Whether the broker is met by TLS."""
        if self.broker.tls is None:
            return self.security.fleet_dir is not None
        return self.broker.tls

    def training_plan(self) -> TrainingPlan:
        """Return what devices are asked to do."""
        return TrainingPlan(
            epochs=self.plan.epochs,
            learning_rate=self.plan.learning_rate,
            momentum=self.plan.momentum,
            mu=self.plan.mu,
            evaluate=self.round.evaluate,
            seed=self.server.seed,
        )


def load_config(path: Path) -> ServerConfig:
    """Read ``server.toml``, or raise ``ConfigError`` or ``RefusedError``."""
    return load_settings(ServerConfig, path)


def _check_range(key: str, value: float, *, least: float, most: float) -> None:
    if not least <= value <= most:
        raise ConfigError(
            f"{key} is from {least:g} to {most:g}, not {value:g}",
            remedy=f"correct {key}",
        )
