"""[d] Decides whether a peer's certificates and the negotiated parameters are those of RFC 8998 in this net.

Pure: certificates, facts and time are arguments. It does not ask who may connect (`gateway.admission`) and keeps no
state (`verifier` does). OpenSSL's own verification is a second opinion, never the decision.
"""

from collections.abc import Sequence

from cryptography import x509

from zonegate.errors import ZoneGateError
from zonegate.gateway.tls.channel import Peer, TlsFacts
from zonegate.pki.certificate import Certificate, Profile
from zonegate.pki.path import TrustAnchors
from zonegate.reasons import Reason

SM2_WITH_SM3 = "1.2.156.10197.1.501"
# DER of AlgorithmIdentifier {id-ecPublicKey, SM2 curve}: every SM2 SubjectPublicKeyInfo contains it (standards.md C1).
_SM2_KEY_ALGORITHM = bytes.fromhex("301306072a8648ce3d020106082a811ccf5501822d")

VERSION = "TLSv1.3"
SUITES = ("TLS_SM4_GCM_SM3", "TLS_SM4_CCM_SM3")
GROUP_SM2 = "curveSM2"
GROUP_HYBRID = "curveSM2MLKEM768"
SIGNATURE_SM2 = "sm2sig_sm3"
ALPN = "h2"

# Leaf, two sub-CAs and the root: the longest chain of architecture section 6.
CHAIN_MAX = 4
CERTIFICATE_LIMIT_BYTES = 8192
# `Warning`: what the library only warns about is an exception where a process runs with -W error.
_UNREADABLE = (ValueError, Warning, x509.InvalidVersion)
_ENCRYPTION_USAGES = frozenset({"keyEncipherment", "dataEncipherment", "keyAgreement", "encipherOnly", "decipherOnly"})


def check_anchors(anchors: TrustAnchors, intermediates: Sequence[Certificate]) -> None:
    """Refuse anchors that are not all of one net (CA-14); raised at start, as E_CONFIG."""
    if not anchors.roots:
        raise ZoneGateError(Reason.E_CONFIG, "trust: no root certificate; one net's roots are needed")
    for certificate in (*anchors.roots, *intermediates):
        # An existing external root names no net of ours: installing it is what makes it this net's.
        external = certificate.net is None and certificate in anchors.roots
        if certificate.net is not anchors.net and not external:
            found = "no net" if certificate.net is None else f"net {certificate.net.value}"
            raise ZoneGateError(
                Reason.E_CONFIG,
                f"trust: {certificate.subject} is of {found}, only {anchors.net.value} is allowed here (CA-14)",
            )


def check_chain(chain: Sequence[bytes]) -> None:
    """Refuse a chain, leaf first, in which a key or a signature is not SM2 with SM3 (TL-02)."""
    if not chain:
        raise ZoneGateError(Reason.E_NO_CERTIFICATE, "certificate: none was presented")
    if len(chain) > CHAIN_MAX:
        raise ZoneGateError(Reason.E_CERT_CHAIN, f"certificate: {len(chain)} in the chain, at most {CHAIN_MAX}")
    for depth, der in enumerate(chain):
        if len(der) > CERTIFICATE_LIMIT_BYTES:
            raise ZoneGateError(
                Reason.E_CERT_CHAIN, f"certificate {depth}: {len(der)} bytes, at most {CERTIFICATE_LIMIT_BYTES}"
            )
        try:
            certificate = x509.load_der_x509_certificate(der)
            oid = certificate.signature_algorithm_oid.dotted_string
            tbs = certificate.tbs_certificate_bytes
        except _UNREADABLE as exc:
            raise ZoneGateError(Reason.E_CERT_CHAIN, f"certificate {depth}: is not an X.509 certificate") from exc
        if oid != SM2_WITH_SM3:
            raise ZoneGateError(
                Reason.E_TLS_SIGNATURE, f"certificate {depth}: signed with {oid}, {SM2_WITH_SM3} is required"
            )
        if _SM2_KEY_ALGORITHM not in tbs:
            raise ZoneGateError(Reason.E_TLS_SIGNATURE, f"certificate {depth}: its key is not an SM2 key")


def check_leaf(leaf: Certificate) -> None:
    """Refuse a leaf that may not sign handshakes of gateways and systems (CE-05)."""
    if leaf.is_ca:
        raise ZoneGateError(Reason.E_CERT_USAGE, "certificate: is a CA's, a connection needs a leaf")
    if leaf.key_usage & _ENCRYPTION_USAGES:
        raise ZoneGateError(Reason.E_CERT_USAGE, "certificate: an encryption certificate, the signing one is needed")
    if "digitalSignature" not in leaf.key_usage:
        raise ZoneGateError(Reason.E_CERT_USAGE, "keyUsage: digitalSignature is missing")
    if leaf.profile not in (Profile.GATEWAY, Profile.SYSTEM):
        raise ZoneGateError(Reason.E_CERT_USAGE, f"certificate: profile {leaf.profile}, gateway or system is needed")
    if leaf.identity is None:
        raise ZoneGateError(Reason.E_CERT_USAGE, "certificate: names no system (URI)")


def check_facts(facts: TlsFacts, groups: Sequence[str]) -> None:
    """Refuse what was negotiated unless it is RFC 8998 throughout; the pins of `context` make this a second lock."""
    if facts.version != VERSION:
        raise ZoneGateError(Reason.E_TLS_VERSION, f"version: {facts.version}, {VERSION} is required")
    if facts.suite not in SUITES:
        raise ZoneGateError(Reason.E_TLS_SUITE, f"cipher suite: {facts.suite}, {' or '.join(SUITES)} is required")
    if facts.group.lower() not in {group.lower() for group in groups}:
        raise ZoneGateError(Reason.E_TLS_GROUP, f"group: {facts.group}, {' or '.join(groups)} is required")
    if facts.alpn != ALPN:
        raise ZoneGateError(Reason.E_TLS_ALPN, f"alpn: {facts.alpn or 'nothing'}, {ALPN} is required")


def peer_of(address: str, path: tuple[Certificate, ...]) -> Peer:
    """Describe the peer whose verified path, without the root, is `path`."""
    leaf = path[0]
    return Peer(
        address=address,
        chain=path,
        identity=leaf.identity,
        profile=leaf.profile,
        fingerprint=leaf.fingerprint,
        serial=leaf.serial,
        not_after=min(certificate.not_after for certificate in path),
    )
