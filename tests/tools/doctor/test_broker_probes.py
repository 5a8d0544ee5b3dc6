"""Against real brokers: what is measured is what their configuration says."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.broker.broker_fixtures import Mosquitto
from tools.doctor.broker_probes import (
    NOBODY,
    greet,
    keep_and_clear,
    largest_payload,
    look_for_server,
    matches,
    send_and_return,
    try_as_device,
    try_as_server,
    try_as_stranger,
)
from tools.doctor.broker_verdicts import GreetingFacts, RetainFacts
from tools.doctor.trial import connected
from wire_protocol.errors import TransportError
from wire_protocol.framing import frame
from wire_protocol.link import LinkSettings, Login, MqttVersion
from wire_protocol.messages import ServerInfo
from wire_protocol.signing import Signer, Verifier
from wire_protocol.topics import Topics

pytestmark = pytest.mark.broker

TOPICS = Topics("home")
OWN = TOPICS.device("kitchen", "doctor")
KIB = 1024


def _settings(port: int, protocol: MqttVersion = "5") -> LinkSettings:
    return LinkSettings("127.0.0.1", port, identity="kitchen-doctor", protocol=protocol)


@contextmanager
def _broker(folder: Path, settings: str) -> Iterator[LinkSettings]:
    broker = Mosquitto(folder, settings=settings)
    broker.start()
    try:
        yield _settings(broker.port)
    finally:
        broker.kill()


def test_the_greeting_tells_what_the_broker_says_of_itself(tmp_path: Path) -> None:
    with _broker(tmp_path, "max_packet_size 20000\nretain_available false\n") as at:
        facts = asyncio.run(greet(at, clock=lambda: 7.0))
    assert facts == GreetingFacts("5", 0.0, 20_000, max_qos=2, retains=False)


def test_an_old_broker_is_greeted_too(broker_port: int) -> None:
    facts = asyncio.run(greet(_settings(broker_port, "3.1.1")))
    assert (facts.version, facts.max_packet_bytes) == ("3.1.1", None)


@pytest.mark.parametrize("version", ["5", "3.1.1"])
def test_messages_come_back(broker_port: int, version: MqttVersion) -> None:
    facts = asyncio.run(send_and_return(_settings(broker_port, version), OWN))
    assert facts.sent == len(facts.acknowledged) == len(facts.returned)
    assert all(0 < ack < 5 for ack in facts.acknowledged)


@pytest.mark.parametrize(
    ("limit", "version", "kib", "announced"),
    [
        (257 * KIB, "5", 256, 257 * KIB),
        (40 * KIB, "5", 39, 40 * KIB),
        (40 * KIB, "3.1.1", 39, None),
        (500, "5", 0, 500),
    ],
)
def test_the_largest_packet_is_found_to_the_kibibyte(
    tmp_path: Path, limit: int, version: MqttVersion, kib: int, announced: int | None
) -> None:
    with _broker(tmp_path, f"max_packet_size {limit}\n") as at:
        facts = asyncio.run(largest_payload(_settings(at.port, version), OWN))
    assert facts.largest == kib * KIB
    assert facts.announced == announced


def test_a_retained_message_is_kept_and_cleared(broker_port: int) -> None:
    facts = asyncio.run(keep_and_clear(_settings(broker_port), OWN))
    assert facts == RetainFacts(kept=True, cleared=True)


def test_a_broker_that_retains_nothing_is_found_out(tmp_path: Path) -> None:
    with _broker(tmp_path, "retain_available false\n") as at:
        facts = asyncio.run(keep_and_clear(at, OWN))
    assert not facts.kept
    assert "Retain not supported" in facts.problem


def test_without_rules_a_device_may_do_everything(broker_port: int) -> None:
    tried = asyncio.run(try_as_device(_settings(broker_port), TOPICS, device="kitchen"))
    may = {(one.does, one.topic) for one in tried if one.allowed}
    assert {("write", "round/doctor"), ("read", "$SYS/#")} <= may
    assert ("read", f"d/{NOBODY}/doctor") in may


def test_an_old_broker_tells_only_what_comes_back(tmp_path: Path) -> None:
    (tmp_path / "rules").write_text(f"topic readwrite {OWN}\n")
    rules = f"acl_file {tmp_path / 'rules'}\n"
    with _broker(tmp_path, rules) as at:
        old = _settings(at.port, "3.1.1")
        tried = asyncio.run(try_as_device(old, TOPICS, device="kitchen"))
        facts = asyncio.run(send_and_return(old, TOPICS.device(NOBODY, "doctor")))
        kept = asyncio.run(keep_and_clear(old, TOPICS.device(NOBODY, "doctor")))
    assert {one.allowed for one in tried if one.does == "write"} == {None}
    assert facts.acknowledged
    assert not facts.returned
    assert not kept.kept


def test_a_refusal_is_known_by_its_code(tmp_path: Path) -> None:
    (tmp_path / "rules").write_text("topic read #\n")
    with _broker(tmp_path, f"acl_file {tmp_path / 'rules'}\n") as at:
        assert asyncio.run(send_and_return(at, OWN)).code == 135
        assert asyncio.run(keep_and_clear(at, OWN)).problem == "code 135"
        tried = asyncio.run(try_as_server(at, TOPICS))
    assert not any(one.allowed for one in tried)


def test_a_server_may_do_its_work_without_rules(broker_port: int) -> None:
    tried = asyncio.run(try_as_server(_settings(broker_port), TOPICS))
    assert all(one.allowed for one in tried)


def test_strangers_are_refused_where_a_password_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("secret\n")
    login = Login("kitchen", tmp_path / "password")
    with _broker(tmp_path, "") as at:
        bare = LinkSettings(at.host, at.port, identity="x", login=login)
        assert asyncio.run(try_as_stranger(at)).same_port is None
        assert asyncio.run(try_as_stranger(bare)).same_port is True


def _retained(at: LinkSettings, topic: str, payload: bytes) -> None:
    async def publish() -> None:
        async with connected(at) as trial:
            await trial.tell(topic, payload, retain=True)

    asyncio.run(publish())


def test_a_server_is_seen_by_what_it_retained(mosquitto: Mosquitto) -> None:
    at, fleet = _settings(mosquitto.port), Signer(bytes(32))
    info = ServerInfo(block_bytes=16_384, window=8, model="digits-mlp", resend_s=2.0)
    unseal = Verifier(fleet.public).unseal
    look: Callable[[], object] = lambda: asyncio.run(  # noqa: E731
        look_for_server(at, TOPICS, unseal=unseal)
    )

    found = asyncio.run(look_for_server(at, TOPICS))
    assert (found.availability, found.info, found.problem) == (None, None, "")

    _retained(at, TOPICS.server_availability, b"online")
    _retained(at, TOPICS.server_info, frame(info))
    found = asyncio.run(look_for_server(at, TOPICS))
    assert (found.availability, found.info) == ("online", info)
    assert "not signed" in str(look())

    sealed = fleet.seal(TOPICS.server_info, frame(info))
    _retained(at, TOPICS.server_info, sealed)
    found = asyncio.run(look_for_server(at, TOPICS, unseal=unseal))
    assert (found.info, found.problem) == (info, "")


def test_a_broker_that_is_not_there_is_a_transport_error() -> None:
    with pytest.raises(TransportError):
        asyncio.run(greet(_settings(1)))


LEVELS = st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=5)


@given(LEVELS, st.data())
def test_a_filter_made_of_a_topic_is_for_it(
    levels: list[str], data: st.DataObject
) -> None:
    topic = "/".join(levels)
    wild = [data.draw(st.sampled_from([level, "+"])) for level in levels]
    cut = data.draw(st.integers(0, len(levels)))
    assert matches("/".join(wild), topic)
    assert matches("/".join([*wild[:cut], "#"]), topic)
    assert not matches("/".join([*wild, "+"]), topic)
    assert not matches("/".join(["other", *wild[1:]]), topic)
