"""How many bytes a TCP socket has carried, as the kernel counts them."""

import socket
import struct
from typing import Final

from wire_protocol.link import Traffic

# struct tcp_info in linux/tcp.h: eight u8, 24 u32, then these u64 (since Linux 4.19).
_BYTES_RECEIVED: Final = struct.Struct("=128xQ")
_BYTES_SENT_AND_RETRANSMITTED: Final = struct.Struct("=200xQQ")
_TCP_INFO: Final[int | None] = getattr(socket, "TCP_INFO", None)


def socket_traffic(sock: socket.socket) -> Traffic:
    """Return what ``sock`` has carried; nothing where the kernel does not tell."""
    if _TCP_INFO is None:
        return Traffic()
    size = _BYTES_SENT_AND_RETRANSMITTED.size
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, size)
    except OSError:
        return Traffic()
    if len(info) < size:
        return Traffic()
    sent, again = _BYTES_SENT_AND_RETRANSMITTED.unpack_from(info)
    (received,) = _BYTES_RECEIVED.unpack_from(info)
    return Traffic(sent - again, received)
