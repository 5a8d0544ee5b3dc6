"""Registry: what is known of every device, as a fold over what it said.

This module is pure.

>>> pi = CheckIn(1, "litert 2.1", "tflite", ("uq", "f32"), 120)
>>> fleet = Registry().checked_in("pi-1", pi).availability("pi-1", online=True)
>>> fleet.eligible(families={"tflite"}, codec="uq:2")
('pi-1',)
>>> fleet.excluded("pi-1").eligible(families={"tflite"}, codec="uq:2")
()
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from wire_protocol.errors import Reason
from wire_protocol.feature_statistics import FeatureStatistics
from wire_protocol.messages import CheckIn

EXCLUDING: Final = frozenset({Reason.WRONG_SCHEMA, Reason.SELF_TEST_FAILED})
"""Reasons that will not go away by trying the next round."""
MAX_DEVICES: Final = 10_000
"""Bound on memory; whoever can publish could invent device names."""


@dataclass(frozen=True, slots=True)
class Device:
    """One device: is it there, what can it do, may it be invited.

    One that is ``busy`` still works on an update, or waits for its receipt.
    """

    online: bool = False
    check_in: CheckIn | None = None
    excluded: bool = False
    busy: bool = False


@dataclass(frozen=True, slots=True)
class Registry:
    """All devices, by id."""

    devices: Mapping[str, Device] = field(default_factory=dict)

    @property
    def online(self) -> frozenset[str]:
        """Devices that are there, whether they can take part or not."""
        return frozenset(name for name, one in self.devices.items() if one.online)

    @property
    def busy(self) -> frozenset[str]:
        """Devices that are there, and whose update is still to come."""
        return frozenset(
            name for name, one in self.devices.items() if one.online and one.busy
        )

    def checked_in(self, device: str, check_in: CheckIn) -> "Registry":
        """Take a check-in; one of another connection ends an exclusion."""
        known = self._known(device)
        anew = known.check_in is not None and known.check_in.conn != check_in.conn
        changed = replace(
            known,
            check_in=check_in,
            excluded=known.excluded and not anew,
            busy=check_in.busy > 0,
        )
        return self._with(device, changed)

    def availability(
        self, device: str, *, online: bool, conn: int | None = None
    ) -> "Registry":
        """Take ``online`` or ``offline``; who was offline must check in anew.

        ``conn`` is the connection whose will this is. A broker may find an old one dead
        when the device has long been back on a newer one: that is no news.
        """
        known = self._known(device)
        if online:
            return self._with(device, replace(known, online=True))
        current = known.check_in.conn if known.check_in else 0
        stale = conn is not None and conn < current
        if stale or device not in self.devices:
            return self
        return self._with(device, Device())

    def occupied(self, devices: Collection[str], *, busy: bool) -> "Registry":
        """Note that known ``devices`` still work on an update, or are done with it."""
        changed = {
            name: replace(self.devices[name], busy=busy)
            for name in devices
            if name in self.devices
        }
        return Registry({**self.devices, **changed})

    def without(self, devices: Collection[str]) -> "Registry":
        """Forget devices."""
        kept = {name: one for name, one in self.devices.items() if name not in devices}
        return Registry(kept)

    def excluded(self, device: str) -> "Registry":
        """Do not invite ``device`` until it checks in anew."""
        return self._with(device, replace(self._known(device), excluded=True))

    def eligible(
        self,
        *,
        families: Collection[str],
        codec: str,
        late: bool = True,
        channels: int = 0,
    ) -> tuple[str, ...]:
        """Return who can take part now, sorted: online, able, free, not excluded.

        Unless ``late`` updates count nobody is busy: old work is dropped for new. With
        ``channels``, only who has told statistics of so many.
        """
        spoken = codec.partition(":")[0]
        return tuple(
            sorted(
                name
                for name, device in self.devices.items()
                if device.online
                and not device.excluded
                and not (late and device.busy)
                and device.check_in is not None
                and device.check_in.family in families
                and spoken in device.check_in.codecs
                and (not channels or _channels(device.check_in) == channels)
            )
        )

    def statistics(self, devices: Iterable[str]) -> list[FeatureStatistics]:
        """Return what known ``devices`` have told of their inputs."""
        told = [self.devices[name].check_in for name in devices]
        return [one.statistics for one in told if one and one.statistics]

    def _known(self, device: str) -> Device:
        return self.devices.get(device, Device())

    def _with(self, name: str, device: Device) -> "Registry":
        if name not in self.devices and len(self.devices) >= MAX_DEVICES:
            return self
        return Registry({**self.devices, name: device})


def _channels(check_in: CheckIn) -> int:
    return check_in.statistics.channels if check_in.statistics else 0
