"""Going to the broker step by step: its name, TCP and TLS."""

import ipaddress
import socket
import ssl
import time
from typing import Final

from tools.doctor.network_verdicts import HandshakeFacts, NameFacts, ReachFacts
from wire_protocol.link import TlsFiles
from wire_protocol.tls import client_context, tls_problem

CONNECT_S: Final = 4.0
_MOST_ADDRESSES: Final = 4
_REFUSAL_S: Final = 0.3
"""TLS 1.3 tells a client that it is refused only after the handshake."""
_LINGER_S: Final = 2.0
_RENEW: Final = "renew that certificate, on the server: edgefed fleet renew"


def look_up(host: str, port: int) -> NameFacts:
    """Look up ``host``."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        pass
    else:
        return NameFacts(host, literal=True, addresses=(host,))
    began = time.perf_counter()
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        problem = getattr(error, "strerror", None) or str(error)
        taken = time.perf_counter() - began
        return NameFacts(host, literal=False, seconds=taken, problem=problem)
    taken = time.perf_counter() - began
    addresses = tuple(dict.fromkeys(str(one[4][0]) for one in found))
    return NameFacts(host, literal=False, addresses=addresses, seconds=taken)


def reach(host: str, port: int) -> tuple[ReachFacts, ...]:
    """Connect to each address of ``host`` until one accepts; the last one is that."""
    tries: list[ReachFacts] = []
    for address in look_up(host, port).addresses[:_MOST_ADDRESSES]:
        began = time.perf_counter()
        try:
            socket.create_connection((address, port), CONNECT_S).close()
        except OSError as error:
            problem = error.strerror or str(error) or type(error).__name__
            tries.append(
                ReachFacts(address, port, code=error.errno or -1, problem=problem)
            )
        else:
            taken = time.perf_counter() - began
            tries.append(ReachFacts(address, port, seconds=taken))
            break
    return tuple(tries) or (ReachFacts(host, port, code=-1, problem="no address"),)


def shake_hands(host: str, port: int, files: TlsFiles) -> HandshakeFacts:
    """Make a TLS connection as the link does, and say nothing on it.

    Raises:
        ConfigError: One of ``files`` cannot be used.
        OSError: The connection cannot be made.
    """
    context = client_context(files)
    began = time.perf_counter()
    with socket.create_connection((host, port), CONNECT_S) as plain:
        try:
            with context.wrap_socket(plain, server_hostname=host) as wrapped:
                taken = time.perf_counter() - began
                _await_refusal(wrapped)
                return _described(wrapped, seconds=taken)
        except OSError as error:  # ssl.SSLError is one
            problem, remedy = tls_problem(error) or (
                f"the broker ended the handshake: {error.strerror or error}",
                "see that this is the broker's TLS port, and read the broker's log",
            )
            if "broker's certificate" in problem and "expired" in problem:
                remedy = f"{remedy}; if it is right, {_RENEW}"
            return HandshakeFacts(problem=problem, remedy=remedy)


def _await_refusal(wrapped: ssl.SSLSocket) -> None:
    """Raise ``OSError`` if the broker refuses our certificate, or that we have none."""
    wrapped.settimeout(_REFUSAL_S)
    try:
        said = wrapped.recv(1)
    except TimeoutError:
        return  # it waits for what we have to say
    finally:
        wrapped.settimeout(_LINGER_S)
    if not said:
        raise ConnectionError("it closed the connection at once")


def _described(wrapped: ssl.SSLSocket, *, seconds: float) -> HandshakeFacts:
    told = wrapped.getpeercert() or {}
    cipher = wrapped.cipher()
    names = tuple(str(one[1]) for one in told.get("subjectAltName", ()))
    return HandshakeFacts(
        version=wrapped.version() or "TLS",
        cipher=cipher[0] if cipher else "",
        names=names,
        ends=float(ssl.cert_time_to_seconds(str(told["notAfter"]))),
        seconds=seconds,
    )
