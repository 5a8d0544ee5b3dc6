"""The files of one demo: a shard and a configuration for everybody, in one folder."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final, Self

from model_zoo.data.federation import Shard, write_shard
from tools.demo.plan import DemoPlan
from wire_protocol.errors import ConfigError

FLEET: Final = "demo"
HOLDOUT: Final = 0.1
"""Part of its examples every device keeps back to judge the model it is sent."""

Section = Mapping[str, str | int | float | bool]


@dataclass(frozen=True, slots=True)
class DeviceFiles:
    """Where one device finds everything."""

    name: str
    runtime: str
    config: Path
    examples: Path
    log: Path

    @property
    def identity(self) -> Path:
        """What makes it a member, when there is a fleet."""
        return self.config.parent / "identity"


@dataclass(frozen=True, slots=True)
class Workspace:
    """A demo's folder."""

    folder: Path
    devices: tuple[DeviceFiles, ...]

    @property
    def server_config(self) -> Path:
        """The server's TOML."""
        return self.folder / "server.toml"

    @property
    def server_state(self) -> Path:
        """Where the server keeps versions and rounds."""
        return self.folder / "server"

    @property
    def report(self) -> Path:
        """The page to look at afterwards."""
        return self.folder / "report.html"

    @classmethod
    def create(
        cls, folder: Path, shards: Sequence[Shard], *, runtimes: Sequence[str]
    ) -> Self:
        """Make the folder and write every device's examples.

        Runtimes alternate over the devices, so that each serves half of them.
        """
        try:
            folder.mkdir(parents=True)
        except FileExistsError as error:
            raise ConfigError(
                f"{folder} already exists", remedy="name another --folder"
            ) from error
        except OSError as error:
            raise ConfigError(
                f"{folder} cannot be made: {error.strerror}",
                remedy="name another --folder",
            ) from error
        devices = []
        for number, shard in enumerate(shards):
            home = folder / "devices" / shard.name
            home.mkdir(parents=True)
            files = DeviceFiles(
                name=shard.name,
                runtime=runtimes[number % len(runtimes)],
                config=home / "agent.toml",
                examples=home / "examples.npz",
                log=home / "agent.log",
            )
            write_shard(shard, files.examples)
            devices.append(files)
        return cls(folder, tuple(devices))

    @property
    def fleet(self) -> Path:
        """The folder of the fleet's keys, when there is a fleet."""
        return self.folder / "fleet"

    def configure(
        self,
        plan: DemoPlan,
        *,
        port: int,
        protocol: str,
        device_ports: Mapping[str, int] = MappingProxyType({}),
        server_changes: Mapping[str, Section] = MappingProxyType({}),
    ) -> None:
        """Write the configurations, now that the broker's port is known.

        A device in ``device_ports`` reaches the broker there instead. A key in
        ``server_changes`` replaces the server's.
        """
        address: Section = {"host": "127.0.0.1", "port": port, "protocol": protocol}
        identified = plan.protection != "none"
        if identified:
            address = {**address, "tls": plan.protection == "tls"}
        fleet: Section = {"fleet_dir": str(self.fleet.absolute())} if identified else {}
        size = len(self.devices)
        _write(
            self.server_config,
            {
                "server": {
                    "fleet": FLEET,
                    "state_dir": str(self.server_state.absolute()),
                    "seed": plan.seed,
                },
                "broker": address,
                "security": fleet,
                "model": {"artifact": plan.model},
                "round": {
                    "rounds": plan.rounds,
                    "fraction": plan.fraction,
                    "devices": size,
                    # Whoever is invited is waited for: a run can be repeated.
                    "over_select": 1.0,
                },
                "plan": {
                    "epochs": plan.epochs,
                    "learning_rate": plan.learning_rate,
                    "momentum": plan.momentum,
                    "mu": plan.mu,
                },
                "codec": {"uplink": plan.codec, "downlink": plan.downlink},
                "convergence": {"patience": plan.patience},
            },
            changes=server_changes,
        )
        for device in self.devices:
            _write(
                device.config,
                {
                    "agent": {
                        "device": device.name,
                        "fleet": FLEET,
                        "state_dir": str(device.config.parent.absolute() / "state"),
                        "runtime": device.runtime,
                    },
                    "broker": {
                        **address,
                        "port": device_ports.get(device.name, port),
                    },
                    "security": {"identity_dir": str(device.identity.absolute())}
                    if identified
                    else {},
                    "data": {
                        "examples": str(device.examples.absolute()),
                        "holdout": HOLDOUT,
                        "seed": plan.seed,
                    },
                    # one machine plays all devices: its heat and its battery say
                    # nothing about them
                    "conditions": {"min_battery_percent": 0, "max_temperature_c": 0},
                },
            )


def _write(
    path: Path,
    sections: Mapping[str, Section],
    *,
    changes: Mapping[str, Section] = MappingProxyType({}),
) -> None:
    lines: list[str] = []
    for name, section in sections.items():
        values = {**section, **changes.get(name, {})}
        lines.append(f"[{name}]")
        # strings, numbers and booleans are written alike in JSON and in TOML
        lines += [f"{key} = {json.dumps(value)}" for key, value in values.items()]
        lines.append("")
    path.write_text("\n".join(lines), encoding="utf-8")
