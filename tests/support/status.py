"""The responder and the time stamping authority of a `TestNet`, as their services build them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from support import sm2_reference as reference
from support.pki import IssuedCredential, TestNet
from zonegate.ca.clockguard import ClockGuard
from zonegate.ca.keystore import FileKeyStore, SealedFiles
from zonegate.ca.ocsp import NonceRule, Scope
from zonegate.ca.responder import Limits, Responder
from zonegate.ca.serialfile import SerialFile
from zonegate.ca.statusview import LedgerView
from zonegate.ca.timestamper import TimeStamper, TsaCredential
from zonegate.ca.tsa import TsaRules
from zonegate.gm import der, sm2
from zonegate.pki.certificate import Certificate, Profile
from zonegate.pki.ocsp_message import SingleAnswer, encode_answer_tbs, encode_response
from zonegate.pki.ocsp_request import responder_key_hash
from zonegate.pki.oids import TSA_POLICY

LIFETIME = timedelta(hours=1)
LIMIT = timedelta(seconds=1)


def store(profile: Profile, issued: IssuedCredential) -> FileKeyStore:
    return FileKeyStore({profile: SealedFiles(issued.key_path, issued.secret_path)})


def scope_of(net: TestNet, *, nonces: NonceRule = NonceRule.ECHO, most: int = 4) -> Scope:
    return Scope.of(net.sub_ca, lifetime=LIFETIME, nonces=nonces, max_certificates=most)


@dataclass
class Desk:
    """A responder with its view and certificate."""

    net: TestNet
    issued: IssuedCredential
    view: LedgerView
    responder: Responder

    def close(self) -> None:
        self.view.close()


def make_desk(net: TestNet, issued: IssuedCredential, *, limits: Limits | None = None, **scope: object) -> Desk:
    view = LedgerView.open(net.ca_path / "ledger.sqlite", net.net)
    made = Responder(
        scope_of(net, **scope),  # type: ignore[arg-type] # the names of its own parameters
        issued.certificate,
        view,
        store(Profile.OCSP, issued),
        net.clock,
        limits=limits or Limits(),
    )
    return Desk(net, issued, view, made)


def make_stamper(net: TestNet, issued: IssuedCredential, serials: Path, guard: ClockGuard | None = None) -> TimeStamper:
    chain = (issued.certificate, net.sub_ca)
    rules = TsaRules(TSA_POLICY[net.net], LIMIT)
    return TimeStamper(
        rules,
        TsaCredential(issued.certificate, chain),
        store(Profile.TSA, issued),
        SerialFile(serials, net.clock),
        guard or ClockGuard(LIMIT),
        net.clock,
    )


def forge_answer(
    answers: Sequence[SingleAnswer],
    signer: Certificate,
    key: sm2.PrivateKey,
    *,
    made: object = None,
    nonce: bytes | None = None,
    signer_id: bytes = sm2.CERT_ID,
    certificates: tuple[Certificate, ...] | None = None,
    key_hash: bytes | None = None,
) -> bytes:
    """Return a response of exactly these members, signed whether that is right or not."""
    produced = made if made is not None else answers[0].this_update
    tbs = encode_answer_tbs(key_hash or responder_key_hash(signer), produced, tuple(answers), nonce)  # type: ignore[arg-type] # a datetime
    chain = (signer,) if certificates is None else certificates
    return encode_response(tbs, key.sign(tbs, signer_id=signer_id), chain)


def second_implementation_accepts(certificate: Certificate, signature: bytes, message: bytes) -> bool:
    """Whether the plain-Python SM2 of the tests, which shares no code with ours, verifies a signature."""
    point = certificate.public_key.point
    affine = int.from_bytes(point[1:33], "big"), int.from_bytes(point[33:], "big")
    r, s = der.decode_signature(signature)
    return reference.verify(affine, reference.digest(affine, sm2.CERT_ID, message), r, s)
