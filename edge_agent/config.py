"""The agent's configuration, read once from ``agent.toml``."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from edge_agent.data_settings import DataSettings
from wire_protocol.errors import ConfigError
from wire_protocol.settings import check_login, check_secure, load_settings
from wire_protocol.topics import check_name

MAX_THREADS = 64
_MOST = {"min_battery_percent": 100, "max_temperature_c": 150}


@dataclass(frozen=True, slots=True)
class DeviceSettings:
    """Section ``[agent]``: who this device is and how it computes."""

    device: str
    state_dir: Path
    fleet: str = "home"
    runtime: Literal["auto", "litert", "onnxruntime", "tflite-runtime"] = "auto"
    threads: int = 1

    def __post_init__(self) -> None:
        check_name(self.device, what="device")
        check_name(self.fleet, what="fleet")
        if not 1 <= self.threads <= MAX_THREADS:
            raise ConfigError(
                f"threads is 1 to {MAX_THREADS}, not {self.threads}",
                remedy="1 leaves the other cores to the rest of the device",
            )


@dataclass(frozen=True, slots=True)
class BrokerSettings:
    """Section ``[broker]``: where the fleet meets.

    ``host`` and ``port``: unset, what the fleet said when the device joined; this
    machine's port 1883 if it never did. ``tls``: unset, if it joined. ``authority``:
    whose certificates the broker shows; unset, the fleet's. ``username`` and
    ``password_file`` are for brokers that know no certificates.
    """

    host: str | None = None
    port: int | None = None
    protocol: Literal["auto", "5", "3.1.1"] = "auto"
    tls: bool | None = None
    authority: Path | None = None
    username: str | None = None
    password_file: Path | None = None

    def __post_init__(self) -> None:
        check_login(self.username, self.password_file)
        if self.port is not None and not 1 <= self.port <= 65535:
            raise ConfigError(
                f"port is 1 to 65535, not {self.port}", remedy="MQTT's is 1883"
            )


@dataclass(frozen=True, slots=True)
class SecuritySettings:
    """Section ``[security]``: how this device proves who it is.

    ``identity_dir`` is where ``edgefed agent join`` keeps what makes it a member of its
    fleet; unset, it is a member of none.
    """

    identity_dir: Path | None = None


@dataclass(frozen=True, slots=True)
class ConditionSettings:
    """Section ``[conditions]``: when to leave a round to others; 0 turns one off."""

    min_free_memory_mib: int = 32
    min_battery_percent: int = 20
    min_free_disk_mib: int = 64
    max_temperature_c: int = 80

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value, most = getattr(self, name), _MOST.get(name, 1 << 20)
            if not 0 <= value <= most:
                raise ConfigError(
                    f"{name} is 0 to {most}, not {value}", remedy="0 turns it off"
                )


@dataclass(frozen=True, slots=True)
class AgentConfig:
    """Everything the agent is told."""

    agent: DeviceSettings
    data: DataSettings
    broker: BrokerSettings = field(default_factory=BrokerSettings)
    security: SecuritySettings = field(default_factory=SecuritySettings)
    conditions: ConditionSettings = field(default_factory=ConditionSettings)

    def __post_init__(self) -> None:
        if self.broker.host is not None:
            joined = self.security.identity_dir is not None
            check_secure(
                self.broker.host,
                identified=joined,
                tls=joined if self.broker.tls is None else self.broker.tls,
                remedy="join the fleet with 'edgefed agent join', which needs "
                "[security] identity_dir",
            )


def load_config(path: Path) -> AgentConfig:
    """Read ``path``, or raise ``ConfigError`` or ``RefusedError``."""
    return load_settings(
        AgentConfig, path, remedy="copy firmware_configs/examples/agent.toml there"
    )
