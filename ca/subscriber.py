"""What a subscriber does on its own machine: make the request (CA-03), take the answer with dual certificates (CA-06).

The signing key is used here and stays here: the CA sees the request only. The encryption key is opened here and
nowhere else but in the key centre.
"""

from dataclasses import dataclass
from datetime import datetime

from cryptography import x509

from zonegate.ca import asn1
from zonegate.ca.names import SubjectName
from zonegate.errors import ZoneGateError
from zonegate.gm import pem, sm2
from zonegate.identity import Identity
from zonegate.pki.certificate import Certificate
from zonegate.pki.csr_response import OpenedPair, open_pair, parse
from zonegate.pki.path import TrustAnchors, verify_path
from zonegate.reasons import Reason

REQUEST_LABEL = "CERTIFICATE REQUEST"


def build_request(key: sm2.PrivateKey, subject: SubjectName, identity: Identity) -> bytes:
    """Return the PEM of a request for `identity`, signed with the certificate signer id (CR-06)."""
    name = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(str(identity))])
    info = asn1.encode_request_info(
        subject=subject.der,
        spki=key.public_key.spki,
        extensions=[asn1.Extension(name.oid.dotted_string, critical=False, value=name.public_bytes())],
    )
    return pem.encode(REQUEST_LABEL, asn1.encode_signed(info, key.sign(info, signer_id=sm2.CERT_ID)))


@dataclass(frozen=True, slots=True)
class AcceptedPair:
    """A checked answer: the pair and the CA certificates between it and the root."""

    pair: OpenedPair
    above: tuple[Certificate, ...]

    @property
    def signing_pem(self) -> bytes:
        """The signing certificate and its sub-CAs."""
        return b"".join(item.pem for item in (self.pair.signing, *self.above))

    @property
    def encryption_pem(self) -> bytes:
        """The encryption certificate and its sub-CAs."""
        return b"".join(item.pem for item in (self.pair.encryption, *self.above))


def accept_response(source: bytes, key: sm2.PrivateKey, root: Certificate, *, now: datetime) -> AcceptedPair:
    """Return the pair in a CSRResponse if it is this key's, leads to `root` and belongs together."""
    response = parse(source)
    pair = open_pair(response, key)
    if root.net is None or not root.self_issued:
        raise ZoneGateError(Reason.E_TRUST_DOMAIN, f"root: {root.subject} is not the root of a net")
    cas = [item for item in response.signing if item.is_ca]
    anchors = TrustAnchors(root.net, (root,))
    chains = [verify_path(leaf, cas, anchors, now=now) for leaf in (pair.signing, pair.encryption)]
    return AcceptedPair(pair, chains[0][1:-1])
