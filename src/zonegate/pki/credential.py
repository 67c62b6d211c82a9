"""Loads what a process proves itself with: its certificate chain and the sealed private key.

Checks that the parts belong together: the key is the leaf's, each certificate is signed by the next. Whether the
chain is trusted, in date and unrevoked is judged by `path` where a `now` is at hand.
"""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from zonegate.errors import ZoneGateError
from zonegate.gm import keyfile, sm2
from zonegate.identity import Identity
from zonegate.pki.certificate import FILE_LIMIT_BYTES, Certificate, load_certificates
from zonegate.pki.path import MAX_DEPTH, is_issued_by
from zonegate.reasons import Reason


@dataclass(frozen=True, slots=True)
class Credential:
    """A chain, leaf first, and the leaf's private key."""

    chain: tuple[Certificate, ...]
    key: sm2.PrivateKey

    @property
    def leaf(self) -> Certificate:
        """The certificate of the holder."""
        return self.chain[0]

    @property
    def identity(self) -> Identity | None:
        """Who the leaf speaks for."""
        return self.chain[0].identity

    @property
    def chain_pem(self) -> bytes:
        """The chain as PEM text, leaf first."""
        return b"".join(certificate.pem for certificate in self.chain)


def load_credential(cert_path: Path, key_path: Path, secret_path: Path) -> Credential:
    """Return the credential in three files; the refusal names the file or the field."""
    chain = read_chain_file(cert_path)
    return make_credential(chain, keyfile.read_key_file(key_path, secret_path))


def read_chain_file(path: Path) -> tuple[Certificate, ...]:
    """Return the certificates of a PEM file."""
    try:
        with path.open("rb") as stream:
            source = stream.read(FILE_LIMIT_BYTES + 1)
    except OSError as exc:
        raise ZoneGateError(Reason.E_CONFIG, f"{path.name}: cannot be read: {exc.strerror}") from exc
    return load_certificates(source)


def make_credential(chain: tuple[Certificate, ...], key: sm2.PrivateKey) -> Credential:
    """Return the credential if key and chain belong together; otherwise `E_KEY` or `E_CERT_CHAIN`."""
    if not 0 < len(chain) <= MAX_DEPTH:
        raise ZoneGateError(
            Reason.E_CERT_CHAIN, f"chain: the file holds {len(chain)} certificates, 1 to {MAX_DEPTH} are allowed"
        )
    if key.public_key != chain[0].public_key:
        raise ZoneGateError(Reason.E_KEY, f"private key: it is not the key of {chain[0].subject}")
    for subject, issuer in pairwise(chain):
        if not is_issued_by(subject, issuer):
            raise ZoneGateError(Reason.E_CERT_CHAIN, f"chain: {subject.subject} is followed by {issuer.subject}")
        try:
            issuer.public_key.verify(subject.signature, subject.tbs, signer_id=sm2.CERT_ID)
        except ZoneGateError as exc:
            raise ZoneGateError(
                Reason.E_CERT_CHAIN, f"signature: {issuer.subject} has not signed {subject.subject}"
            ) from exc
    return Credential(chain, key)
