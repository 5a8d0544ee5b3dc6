"""Targets of joining and trust: envelopes, tokens, certificates, and their files."""

from pathlib import Path
from typing import Final

from broker_server.fleet import Fleet
from broker_server.fleet_folder import FleetFolder
from broker_server.members import Claim, Member
from broker_server.vouching import Letter, Terms, answer_all
from edge_agent.joining.asking import Wish, read_answer
from edge_agent.joining.claim import OpenClaim, read_claim
from edge_agent.joining.staging import Request
from edge_agent.membership import Membership
from tools.fuzz.messages import DEVICES, UPDATE_FRAME
from tools.fuzz.shapes import JSON, TOKEN, enveloped
from tools.fuzz.target import Entry, Target, always
from wire_protocol.certificates import (
    Certificate,
    certificate_request,
    new_authority,
    read_certificate,
    requested_key,
)
from wire_protocol.enrolment import (
    EnrolGrant,
    EnrolRequest,
    JoinToken,
    TokenParts,
    token_text,
)
from wire_protocol.envelope import ENVELOPE_BYTES
from wire_protocol.errors import (
    ConfigError,
    DecodeError,
    Reason,
    RefusedError,
    TrustError,
)
from wire_protocol.framing import frame
from wire_protocol.signing import Signer, Verifier, key_from_pem, key_to_pem

DEVICE: Final = DEVICES[0]
TOPIC: Final = f"edgefed/1/home/d/{DEVICE}/up"
_NOW: Final = 1.8e9
_LONG_S: Final = 4e9
_FLEET: Final = Signer(bytes(range(32)))
_MEMBER: Final = Signer(bytes(range(1, 33)))
_CLAIMANT: Final = Signer(bytes(range(2, 34)))
_AUTHORITY: Final = new_authority("home", Signer(bytes(range(3, 35))), serial=1)
_TOKEN: Final = JoinToken("broker.local", 8883, "home", "claim.0a1b2c3d4e")


def _issued(name: str, signer: Signer, *, serial: int) -> Certificate:
    return _AUTHORITY.issue(name, signer.public, serial=serial, not_after=_LONG_S)


def _token() -> bytes:
    parts = TokenParts(
        seed=_CLAIMANT.seed,
        fleet_key=_FLEET.public,
        authority=_AUTHORITY.certificate.der,
        certificate=_issued(_TOKEN.claim, _CLAIMANT, serial=2).der,
    )
    return token_text(frame(_TOKEN, parts.to_bytes())).encode()


_GRANTED: Final = _issued(DEVICE, _MEMBER, serial=3)
_REQUEST: Final = certificate_request(DEVICE, _MEMBER)
_CLAIM: Final = OpenClaim(
    token=_TOKEN,
    signer=_CLAIMANT,
    certificate=_issued(_TOKEN.claim, _CLAIMANT, serial=2),
    authority=_AUTHORITY.certificate,
    fleet_key=Verifier(_FLEET.public),
)
_WISH: Final = Wish(DEVICE, Request(_MEMBER, _REQUEST), "Raspberry Pi 4")
_ASKED_ON: Final = _CLAIM.topics.enrolment(_TOKEN.claim, "req")
_ANSWERED_ON: Final = _CLAIM.topics.enrolment(_TOKEN.claim, "res")


def open_envelope(raw: bytes) -> None:
    """Open an envelope; only what the member signed for this topic comes out of it."""
    assert Verifier(_MEMBER.public).unseal(TOPIC, raw) == UPDATE_FRAME


def read_token(raw: bytes) -> None:
    """Read a token; one that holds together is the fleet's."""
    claim = read_claim(raw.decode("utf-8", "replace"))
    assert claim.certificate.public == claim.signer.public


def read_request(raw: bytes) -> None:
    """Read a certificate request; it proves the key that it is for."""
    assert len(requested_key(raw, device=DEVICE)) == 32


def hear_answer(raw: bytes) -> None:
    """Read the answer to a request; a certificate is the one of this device's key."""
    found = read_answer(_CLAIM, raw, wish=_WISH)
    assert (found.name, found.public) == (DEVICE, _MEMBER.public)


def read_key(raw: bytes) -> None:
    """Read a private key; what can be read must come back as it was."""
    signer = key_from_pem(raw)
    assert key_from_pem(key_to_pem(signer)) == signer


def _desk(folder: Path) -> Entry:
    """Return the desk of a fleet where one claim is open."""
    fleet = FleetFolder.create(
        folder / "fleet", Fleet("home", ("broker.local",)), now=_NOW, random=bytes
    )
    claim = Claim(_TOKEN.claim, _CLAIMANT.public.hex(), "02", _LONG_S)
    fleet.keep_claim(claim)
    terms = Terms(90.0, _NOW, bytes)

    def judge(raw: bytes) -> str:
        """Judge a request to join; whoever joins does it with the key of the request.

        Nothing may be raised: a letter has an answer, or none.
        """
        (answer,) = answer_all(fleet, [Letter("claim", claim.claim, raw)], terms=terms)
        known = fleet.members()
        if answer.reason is Reason.ACCEPTED:
            assert {member.public for member in known.values()} == {
                _MEMBER.public.hex()
            }
        assert len(known) <= 1  # a claim is for one device
        return answer.reason

    return judge


def _letter(raw: bytes) -> bytes:
    return _CLAIMANT.seal(_ASKED_ON, raw)


def _answer(raw: bytes) -> bytes:
    return _FLEET.seal(_ANSWERED_ON, raw)


def _kept() -> tuple[tuple[str, bytes, type[Membership | Member | Claim | Fleet]], ...]:
    """Return the files that both sides keep: name, content, and what reads it."""
    public, serial = _MEMBER.public.hex(), _GRANTED.serial
    membership = Membership("home", DEVICE, "broker.local", 8883, public, "claim.0a")
    member = Member(
        *(DEVICE, "Kitchen", public, serial, _LONG_S, 1e9, "claim.0a", "Pi 4", 0.0, "")
    )
    claim = Claim("claim.0a", public, serial, _LONG_S, DEVICE, public)
    fleet = Fleet("home", ("broker.local", "192.168.1.5"))
    return (
        ("membership.json", membership.to_json(), Membership),
        ("member files", member.to_json(), Member),
        ("claim files", claim.to_json(), Claim),
        ("fleet.json", fleet.to_json(), Fleet),
    )


TRUST_TARGETS: Final = (
    Target(
        "envelopes",
        "trust",
        (_MEMBER.seal(TOPIC, UPDATE_FRAME),),
        always(open_envelope),
        typed=(TrustError,),
    ),
    Target(
        "tokens",
        "enrolment",
        (_token(),),
        always(read_token),
        typed=(ConfigError,),
        shape=TOKEN,
        share=0.7,
    ),
    Target(
        "certificate requests",
        "enrolment",
        (_REQUEST,),
        always(read_request),
        typed=(TrustError,),
        share=0.7,
    ),
    Target(
        "answers to requests",
        "enrolment",
        (
            _answer(frame(EnrolGrant(DEVICE), _GRANTED.der)),
            _answer(frame(EnrolGrant(DEVICE), _GRANTED.pem)),
        ),
        always(hear_answer),
        typed=(DecodeError, RefusedError),
        shape=enveloped(_answer, header_bytes=ENVELOPE_BYTES),
        share=0.7,
    ),
    Target(
        "requests to join",
        "enrolment",
        (_letter(frame(EnrolRequest(DEVICE, "Raspberry Pi 4"), _REQUEST)),),
        _desk,
        typed=(),
        shape=enveloped(_letter, header_bytes=ENVELOPE_BYTES),
        share=0.2,
        fresh_after=200,
    ),
    Target(
        "certificates",
        "trust",
        (_GRANTED.der, _GRANTED.pem, _AUTHORITY.certificate.der),
        always(read_certificate),
        share=0.5,
    ),
    Target(
        "private keys",
        "trust",
        (key_to_pem(_MEMBER),),
        always(read_key),
        typed=(TrustError,),
        share=0.5,
    ),
    *(
        Target(
            name,
            "trust",
            (content,),
            always(kind.from_json),
            typed=(DecodeError, ConfigError),
            shape=JSON,
            share=0.25,
        )
        for name, content, kind in _kept()
    ),
)
