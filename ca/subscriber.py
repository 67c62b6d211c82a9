"""What a subscriber does on its own machine: make the PKCS#10 request that proves possession of its key (CA-03).

The private key is used here and stays here: the CA sees the request only.
"""

from cryptography import x509

from zonegate.ca import asn1
from zonegate.ca.names import SubjectName
from zonegate.gm import pem, sm2
from zonegate.identity import Identity

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
