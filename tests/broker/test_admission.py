"""Who gets in at a real mosquitto with the policy we generate, and who does not.

Every refusal has a control: the same act with what is right succeeds.
"""

import contextlib
import socket
import ssl
import threading
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from broker_server.broker_policy.policy_folder import MAX_PACKET_BYTES
from tests.broker.guarded_fleet import (
    CLAIM,
    SERVER,
    SPENT_CLAIM,
    TOPICS,
    connected,
    context,
)
from tests.broker.guarded_world import NOT_AUTHORIZED, A, B, World
from tests.broker.raw_client import ClosedError, LastWord, RawClient
from wire_protocol.certificates import Authority, read_certificate
from wire_protocol.link import TlsFiles
from wire_protocol.signing import key_to_pem, load_key
from wire_protocol.tls import client_context

pytestmark = pytest.mark.broker


def refused(
    world: World,
    made: ssl.SSLContext | None,
    *,
    username: str | None = None,
    password: str | None = None,
) -> bool:
    """Return whether nobody gets in with ``made``."""
    try:
        with RawClient(world.port, made) as client:
            return client.connect("any", username=username, password=password) != 0
    except (ssl.SSLError, ClosedError, ConnectionError):
        return True


def _authority(world: World) -> Path:
    return world.fleet.folder.path / "authority.crt"


def _self_signed(world: World) -> TlsFiles:
    authority = world.fleet.foreign_authority(A)
    crt, key = world.fleet.kept / "self.crt", world.fleet.kept / "self.key"
    crt.write_bytes(authority.certificate.pem)
    key.write_bytes(key_to_pem(authority.signer))
    return TlsFiles(_authority(world), crt, key)


def _by_a_device(world: World) -> TlsFiles:
    """A certificate that a member issued, with its own as the authority's."""
    mine = world.files[A]
    assert mine.certificate is not None
    assert mine.key is not None
    issuer = Authority(
        read_certificate(mine.certificate.read_bytes()), load_key(mine.key)
    )
    files = world.fleet.issue(SERVER, by=issuer)[0]
    assert files.certificate is not None
    chain = files.certificate.read_bytes() + mine.certificate.read_bytes()
    files.certificate.write_bytes(chain)
    return files


STRANGERS: dict[str, Callable[[World], TlsFiles | None]] = {
    "no certificate": lambda _: None,
    "an expired certificate": lambda world: world.fleet.issue(
        A, not_after=world.fleet.now - 60
    )[0],
    "a revoked device": lambda world: world.files["stolen"],
    "a claim that is spent": lambda world: world.files[SPENT_CLAIM],
    "another authority, a member's name": lambda world: world.fleet.issue(
        A, by=world.fleet.foreign_authority()
    )[0],
    "another authority, the server's name": lambda world: world.fleet.issue(
        SERVER, by=world.fleet.foreign_authority()
    )[0],
    "a self-signed certificate": _self_signed,
    "a certificate issued by a device": _by_a_device,
    "the broker's certificate": lambda world: TlsFiles(
        _authority(world),
        world.fleet.folder.path / "broker.crt",
        world.fleet.folder.path / "broker.key",
    ),
    "a certificate for servers, a member's name": lambda world: world.fleet.issue(
        A, server=True
    )[0],
}


@pytest.mark.parametrize("name", STRANGERS)
def test_it_may_not_connect(world: World, name: str) -> None:
    files = STRANGERS[name](world)
    assert refused(world, context(files, authority=_authority(world)))
    guest = world.fleet.issue("guest")[0]
    assert not refused(world, context(guest)), "the control: a certificate of ours"


def test_a_password_opens_nothing(world: World) -> None:
    made = context(None, authority=_authority(world))
    assert refused(world, made, username=SERVER, password="secret")
    guest = context(world.fleet.issue("guest")[0])
    assert not refused(world, guest, username=SERVER, password="secret")


def test_plain_tcp_opens_nothing(world: World) -> None:
    assert refused(world, None)


@pytest.mark.parametrize("version", ["TLSv1", "TLSv1_1"])
def test_old_tls_opens_nothing(world: World, version: str) -> None:
    def guest(at_most: ssl.TLSVersion) -> ssl.SSLContext:
        made = context(world.fleet.issue("guest")[0])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            made.minimum_version = ssl.TLSVersion.TLSv1
            made.maximum_version = at_most
        made.set_ciphers("ALL:@SECLEVEL=0")
        return made

    assert refused(world, guest(ssl.TLSVersion[version]))
    assert not refused(world, guest(ssl.TLSVersion.TLSv1_2))


def test_a_user_name_in_the_connect_packet_is_not_believed(world: World) -> None:
    with RawClient(world.port, world.context(A)) as client:
        world.hang_up(A)
        assert client.connect("any", username=SERVER) == 0
        assert client.publish(TOPICS.round(7), b"mine") == NOT_AUTHORIZED
        assert client.publish(TOPICS.device(A, "info"), b"mine") == 0


def test_the_client_id_of_another_takes_nothing_over(world: World) -> None:
    world[B].ping()
    world.hang_up(A)
    with RawClient(world.port, world.context(A)) as client:
        assert client.connect(B) == 0
        client.publish(TOPICS.device(A, "info"), b"here")
        world[B].ping()
    # the control: B itself does take it over
    with (
        connected(world.port, world.files[B], client_id="whatever"),
        pytest.raises(ClosedError),
    ):
        world[B].ping()
    world.hang_up(B)


def test_a_will_on_the_topic_of_another_is_never_said(world: World) -> None:
    world.hang_up(A)
    for topic, allowed in (
        (TOPICS.device(B, "availability"), False),
        (TOPICS.server_availability, False),
        (TOPICS.device(A, "availability"), True),
    ):
        will = world.fresh()
        with (
            RawClient(world.port, world.context(A)) as client,
            contextlib.suppress(ClosedError),
        ):
            client.connect("any", will=LastWord(topic, will))
        # Its name connects again, which the broker does after what the end of the
        # former connection made it do.
        after = world.fresh()
        with connected(world.port, world.files[A]) as client:
            client.publish(TOPICS.device(A, "evt"), after)
            seen = [message.payload for message in world[SERVER].until(after)]
        assert (will in seen) is allowed, topic


def test_a_packet_that_is_too_large_ends_the_connection(world: World) -> None:
    topic = TOPICS.device("guest", "telemetry")
    overhead = len(topic) + 2 + 2 + 1
    files = world.fleet.issue("guest")[0]
    with connected(world.port, files) as client:
        assert client.publish(topic, bytes(MAX_PACKET_BYTES - overhead - 8)) == 0
        with pytest.raises((ClosedError, ConnectionError)):
            client.publish(topic, bytes(MAX_PACKET_BYTES + 1))


# --- brokers that are not ours --------------------------------------------------------


def handshake(world: World, certificate: Path, key: Path, *, host: str) -> bool:
    """Return whether a device accepts, for ``host``, a broker that shows this."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(certificate, key)
    ours, theirs = socket.socketpair()

    def serve() -> None:
        with contextlib.suppress(OSError), made.wrap_socket(theirs, server_side=True):
            pass

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with client_context(world.files[A]).wrap_socket(ours, server_hostname=host):
            return True
    except ssl.SSLCertVerificationError:
        return False
    finally:
        ours.close()
        thread.join()
        theirs.close()


BROKERS: dict[str, Callable[[World], TlsFiles]] = {
    "a device's certificate": lambda world: world.files[B],
    "the server's certificate": lambda world: world.files[SERVER],
    "a claim's certificate": lambda world: world.files[CLAIM],
    "another authority's certificate": lambda world: world.fleet.issue(
        "broker.edgefed", by=world.fleet.foreign_authority(), server=True
    )[0],
    "an expired certificate": lambda world: world.fleet.issue(
        "broker.edgefed", not_after=world.fleet.now - 60, server=True
    )[0],
}


@pytest.mark.parametrize("name", BROKERS)
def test_a_device_connects_to_no_broker_with(world: World, name: str) -> None:
    files = BROKERS[name](world)
    assert files.certificate is not None
    assert files.key is not None
    assert not handshake(world, files.certificate, files.key, host="127.0.0.1")
    folder = world.fleet.folder.path
    ours = folder / "broker.crt", folder / "broker.key"
    assert handshake(world, *ours, host="127.0.0.1")
    assert not handshake(world, *ours, host="broker.example")
