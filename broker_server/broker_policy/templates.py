"""Templates of brokers' configuration: files with ``@names@`` to be filled in."""

import re
from importlib import resources
from typing import Final

_NAME: Final = re.compile(r"@([a-z_]+)@")


def filled(template: str, **values: object) -> str:
    """Return ``firmware_configs/brokers/<template>`` with every name filled in.

    >>> "65536" in filled("home-assistant.conf", max_packet_bytes=65536)
    True

    Raises:
        KeyError: The template has a name that was not given.
    """
    path = resources.files("firmware_configs") / "brokers" / template
    text = path.read_text(encoding="utf-8")
    return _NAME.sub(lambda match: str(values[match[1]]), text)
