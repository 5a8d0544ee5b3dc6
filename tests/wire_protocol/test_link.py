"""Settings of a link: what cannot work is refused before anything is tried."""

from typing import Any

import pytest

from wire_protocol.errors import ConfigError
from wire_protocol.link import LinkSettings


@pytest.mark.parametrize(
    "changes",
    [{"port": 0}, {"port": 70_000}, {"host": ""}, {"identity": ""}, {"protocol": "4"}],
    ids=repr,
)
def test_settings_that_cannot_work_are_refused(changes: dict[str, Any]) -> None:
    working: dict[str, Any] = {"host": "h", "port": 1883, "identity": "i"}
    with pytest.raises(ConfigError):
        LinkSettings(**working | changes)
