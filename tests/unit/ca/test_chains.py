"""Chains and lists as other verifiers see them: OpenSSL 4 (pyOpenSSL), Debian's openssl link by link, our own path."""

import shutil
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from OpenSSL import crypto

from support.clock import FakeClock
from support.pki import IssuedCredential, TestNet
from zonegate.ca import asn1
from zonegate.ca.names import SubjectName
from zonegate.ca.profile import RULES, Validity
from zonegate.ca.template import IssuerName, Plan, build_tbs
from zonegate.errors import ZoneGateError
from zonegate.gm.sm2 import CERT_ID, PrivateKey
from zonegate.pki.certificate import Profile, load_certificate
from zonegate.pki.crl import RevocationReason
from zonegate.pki.path import StatusRule, verify_path
from zonegate.reasons import Reason

LEAVES = (Profile.GATEWAY, Profile.SYSTEM, Profile.OFFICER, Profile.EVIDENCE, Profile.OCSP, Profile.TSA)
OPENSSL = shutil.which("openssl")
FULL_STATUS = crypto.X509StoreFlags.CRL_CHECK | crypto.X509StoreFlags.CRL_CHECK_ALL


def _pem(certificate_pem: bytes) -> crypto.X509:
    return crypto.load_certificate(crypto.FILETYPE_PEM, certificate_pem)


def _openssl_4_accepts(net: TestNet, leaf_pem: bytes, *, root_of: TestNet | None = None) -> str | None:
    """Return why pyOpenSSL's store refuses the leaf, or None."""
    anchor = root_of or net
    store = crypto.X509Store()
    store.add_cert(_pem(anchor.root.pem))
    for path in anchor.crl_paths:
        store.add_crl(x509.load_der_x509_crl(path.read_bytes()))
    store.set_flags(FULL_STATUS | crypto.X509StoreFlags.X509_STRICT)
    now = net.clock.now()
    store.set_time(now)
    try:
        crypto.X509StoreContext(store, _pem(leaf_pem), [_pem(net.sub_ca.pem)]).verify_certificate()
    except crypto.X509StoreContextError as exc:
        return str(exc)
    return None


@pytest.mark.req("CE-01", "CE-06", "CE-07", "RV-01")
@pytest.mark.parametrize("profile", LEAVES)
def test_openssl_4_accepts_every_profile_strictly(extra: TestNet, profile: Profile) -> None:
    assert _openssl_4_accepts(extra, extra.issue(profile, f"strict-{profile}").certificate.pem) is None


@pytest.mark.req("RV-01")
def test_openssl_4_sees_revocation_hold_and_release(own_net: TestNet) -> None:
    issued = own_net.issue(Profile.SYSTEM, "a")
    assert _openssl_4_accepts(own_net, issued.certificate.pem) is None
    own_net.revoke(issued.serial, RevocationReason.CERTIFICATE_HOLD)
    own_net.write_crl()
    assert "revoked" in (_openssl_4_accepts(own_net, issued.certificate.pem) or "")
    own_net.release(issued.serial)
    own_net.write_crl()
    assert _openssl_4_accepts(own_net, issued.certificate.pem) is None


@pytest.mark.req("CA-14")
def test_the_other_nets_root_never_validates(extra: TestNet, intra: TestNet) -> None:
    issued = extra.issue(Profile.SYSTEM, "abroad")
    assert _openssl_4_accepts(extra, issued.certificate.pem, root_of=intra) is not None
    for leaf, subs in ((issued.certificate, (extra.sub_ca,)), (issued.certificate, (extra.sub_ca, intra.sub_ca))):
        with pytest.raises(ZoneGateError) as refused:
            verify_path(leaf, subs, intra.anchors(), now=extra.clock.now())
        assert refused.value.reason is Reason.E_TRUST_DOMAIN
    # Both trees share no name, no key and no certificate.
    for theirs in (intra.root, intra.sub_ca):
        for ours in (extra.root, extra.sub_ca):
            assert theirs.public_key != ours.public_key
            assert theirs.subject_der != ours.subject_der
            assert theirs.issuer_der != ours.issuer_der


@pytest.mark.req("CA-14")
@pytest.mark.parametrize("profile", LEAVES)
def test_own_path_with_status_required(intra: TestNet, profile: Profile) -> None:
    credential = intra.issue(profile, f"own-{profile}").load()
    chain = verify_path(
        credential.leaf,
        credential.chain[1:],
        intra.anchors(),
        now=intra.clock.now(),
        crls=intra.crls(),
        status=StatusRule.REQUIRED,
    )
    assert [item.profile for item in chain] == [profile, Profile.SUB_CA, Profile.ROOT]


@pytest.mark.req("RV-02")
def test_an_old_list_is_stale(own_net: TestNet) -> None:
    assert isinstance(own_net.clock, FakeClock)
    issued = own_net.issue(Profile.SYSTEM, "a")
    own_net.clock.advance(86400 + 60)
    with pytest.raises(ZoneGateError) as refused:
        verify_path(
            issued.certificate, (own_net.sub_ca,), own_net.anchors(), now=own_net.clock.now(), crls=own_net.crls()
        )
    assert refused.value.reason is Reason.E_STATUS_STALE
    assert "expired" in (_openssl_4_accepts(own_net, issued.certificate.pem) or "")


@pytest.mark.req("CE-06")
def test_a_leaf_never_acts_as_ca(own_net: TestNet) -> None:
    """A certificate that a system signed for itself is refused by every verifier."""
    system = own_net.issue(Profile.SYSTEM, "ambitious").load()
    now = own_net.clock.now()
    plan = Plan(
        RULES[Profile.SYSTEM],
        SubjectName("测试单位", "below"),
        own_net.identity("below"),
        PrivateKey.generate().public_key,
        Validity(now, now + timedelta(days=1)),
        1 << 126,
    )
    name = IssuerName(system.leaf.subject_der, system.leaf.public_key, ("http://crl.extra.example/sub.crl",), ())
    tbs = build_tbs(plan, name, net=own_net.net)
    below = load_certificate(asn1.encode_signed(tbs, system.key.sign(tbs, signer_id=CERT_ID)))
    with pytest.raises(ZoneGateError) as refused:
        verify_path(below, (system.leaf, own_net.sub_ca), own_net.anchors(), now=now)
    assert refused.value.reason is Reason.E_CERT_USAGE
    store = crypto.X509Store()
    store.add_cert(_pem(own_net.root.pem))
    store.set_time(now)
    context = crypto.X509StoreContext(store, _pem(below.pem), [_pem(system.leaf.pem), _pem(own_net.sub_ca.pem)])
    with pytest.raises(crypto.X509StoreContextError):
        context.verify_certificate()


# --- Debian's openssl 3, whose default signer id is empty: every link names the id (crypto-facts)


def _openssl(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    assert OPENSSL is not None
    return subprocess.run([OPENSSL, *arguments], capture_output=True, text=True, check=False)


def _link(net: TestNet, issuer: Path, subject: Path, *options: str) -> subprocess.CompletedProcess[str]:
    at = str(int(net.clock.now().timestamp()))
    trusted = ("-partial_chain", "-attime", at, "-x509_strict", "-trusted", issuer)
    return _openssl("verify", *options, *trusted, subject)


STANDARD_ID = ("-vfyopt", "distid:1234567812345678")


@pytest.fixture(scope="module")
def gateway(extra: TestNet) -> IssuedCredential:
    return extra.issue(Profile.GATEWAY, "link")


@pytest.mark.skipif(OPENSSL is None, reason="openssl is not installed")
@pytest.mark.req("CE-01", "CR-06", "CR-08")
def test_openssl_3_accepts_each_link(extra: TestNet, gateway: IssuedCredential) -> None:
    links = ((extra.root_path, extra.root_path), (extra.root_path, extra.sub_path), (extra.sub_path, gateway.cert_path))
    for issuer, subject in links:
        result = _link(extra, issuer, subject, *STANDARD_ID)
        assert result.returncode == 0, result.stderr
    # Without the id the same link fails: OpenSSL 3 takes an empty one (CR-08).
    assert _link(extra, extra.sub_path, gateway.cert_path).returncode != 0
    # And with the right id under the wrong issuer.
    assert _link(extra, extra.root_path, gateway.cert_path, *STANDARD_ID).returncode != 0


@pytest.mark.skipif(OPENSSL is None, reason="openssl is not installed")
@pytest.mark.req("CE-01", "CE-07", "CE-09")
def test_openssl_3_prints_what_we_wrote(extra: TestNet, gateway: IssuedCredential) -> None:
    text = _openssl("x509", "-in", gateway.cert_path, "-noout", "-text", "-nameopt", "utf8,sep_comma_plus").stdout
    for expected in (
        "Version: 3 (0x2)",
        "Signature Algorithm: SM2-with-SM3",
        "ASN1 OID: SM2",
        "O=测试单位",
        f"URI:{gateway.identity}",
        "URI:http://crl.extra.example/sub.crl",
        "Digital Signature, Non Repudiation",
    ):
        assert expected in text
    assert "X509v3 Basic Constraints" not in text
    crl = _openssl("crl", "-in", extra.crl_paths[1], "-inform", "DER", "-noout", "-text").stdout
    assert "Version 2 (0x1)" in crl
    assert "X509v3 CRL Number" in crl
