"""The issuing cycle: serials, duplicate keys, crash between reservation and signature, output check (CE-07, CA-03)."""

import json
import signal
import subprocess
import sys
import textwrap
from datetime import timedelta
from pathlib import Path

import pytest

from support.clock import FakeClock
from support.csr import make_csr
from support.pki import ACTOR, ORGAN, TestNet, founding_plan
from zonegate.ca.audit import Result, first_broken
from zonegate.ca.authority import Authority
from zonegate.ca.ceremony import create_ca
from zonegate.ca.issuance import new_serial
from zonegate.ca.keystore import FileKeyStore
from zonegate.ca.ledger import RESERVATION_HOLD, Ledger
from zonegate.ca.lint.rule import Context
from zonegate.ca.lint.run import lint
from zonegate.ca.names import SubjectName
from zonegate.ca.subscriber import build_request
from zonegate.clock import SystemClock
from zonegate.errors import ZoneGateError
from zonegate.gm import sm2
from zonegate.gm.keyfile import new_secret_file, read_key_file, write_key_file
from zonegate.gm.sm2 import PrivateKey
from zonegate.identity import Identity, Net
from zonegate.pki.certificate import Profile
from zonegate.pki.crl import RevocationReason
from zonegate.reasons import Reason


class CountingKeyStore:
    """Signs like the real one and counts."""

    def __init__(self, inner: FileKeyStore) -> None:
        self._inner = inner
        self.signatures = 0

    def generate(self, key: Profile) -> sm2.PublicKey:
        return self._inner.generate(key)

    def public_key(self, key: Profile) -> sm2.PublicKey:
        return self._inner.public_key(key)

    def sign(self, key: Profile, message: bytes, *, signer_id: bytes) -> bytes:
        self.signatures += 1
        return self._inner.sign(key, message, signer_id=signer_id)


class DyingKeyStore(CountingKeyStore):
    """The process dies while the key signs."""

    def sign(self, key: Profile, message: bytes, *, signer_id: bytes) -> bytes:  # noqa: ARG002 - the protocol's signature
        raise SystemExit(9)


class WrongKeyStore(CountingKeyStore):
    """A device that signs with another key than the certificate's."""

    _other = PrivateKey.generate()

    def sign(self, key: Profile, message: bytes, *, signer_id: bytes) -> bytes:  # noqa: ARG002 - the protocol's signature
        return self._other.sign(message, signer_id=signer_id)


class WrongIdKeyStore(CountingKeyStore):
    """A device that leaves the signer id empty (CR-08)."""

    def sign(self, key: Profile, message: bytes, *, signer_id: bytes) -> bytes:  # noqa: ARG002 - the protocol's signature
        return self._inner.sign(key, message, signer_id=b"")


def _with_keystore(net: TestNet, kind: type[CountingKeyStore]) -> tuple[Authority, CountingKeyStore]:
    settings = net.authority.settings
    keystore = kind(FileKeyStore(settings.key_files()))
    return Authority(settings, net.authority.ledger, keystore, net.authority.publication, net.clock), keystore


def _request(net: TestNet, name: str, key: PrivateKey | None = None) -> bytes:
    return build_request(key or PrivateKey.generate(), SubjectName("测试单位", name), net.identity(name))


def _rows(net: TestNet, state: str) -> int:
    return sum(row.state == state for row in net.authority.ledger.rows())


@pytest.mark.req("CE-07")
def test_serials_are_16_positive_random_bytes() -> None:
    serials = {new_serial() for _ in range(1000)}
    assert len(serials) == 1000
    assert {serial.bit_length() for serial in serials} == {127}
    # Every other bit takes both values.
    for bit in range(126):
        assert {serial >> bit & 1 for serial in serials} == {0, 1}


@pytest.mark.req("CE-07")
def test_a_thousand_issued_certificates(own_net: TestNet) -> None:
    issued = [
        own_net.authority.issue(_request(own_net, f"s{number}"), Profile.SYSTEM, actor=ACTOR) for number in range(1000)
    ]
    assert len({certificate.serial for certificate in issued}) == 1000
    rows = {row.reservation.serial: row for row in own_net.authority.ledger.rows()}
    assert len(rows) == 1002
    for certificate in issued[::50]:
        assert lint(certificate.der, Context(own_net.sub_ca, ())) == ()
        assert rows[certificate.serial].der == certificate.der
    assert first_broken(own_net.authority.ledger.audit_rows()) is None


@pytest.mark.req("CA-03")
def test_second_certificate_for_a_key_is_refused(own_net: TestNet) -> None:
    key = PrivateKey.generate()
    first = own_net.authority.issue(_request(own_net, "first", key), Profile.SYSTEM, actor=ACTOR)
    own_net.revoke(first.serial)
    for name, profile in (("first", Profile.SYSTEM), ("second", Profile.GATEWAY)):
        with pytest.raises(ZoneGateError) as refused:
            own_net.authority.issue(_request(own_net, name, key), profile, actor=ACTOR)
        assert refused.value.reason is Reason.E_DUPLICATE_KEY
        assert refused.value.detail.startswith("publicKey")
    assert _rows(own_net, "reserved") == 0


def test_a_ca_key_gets_no_leaf(own_net: TestNet) -> None:
    files = own_net.authority.settings.key_files()[Profile.SUB_CA]
    request = _request(own_net, "posing", read_key_file(files.key, files.secret))
    with pytest.raises(ZoneGateError) as refused:
        own_net.authority.issue(request, Profile.SYSTEM, actor=ACTOR)
    assert refused.value.reason is Reason.E_DUPLICATE_KEY


def test_crash_between_reservation_and_signature(own_net: TestNet) -> None:
    assert isinstance(own_net.clock, FakeClock)
    authority, _ = _with_keystore(own_net, DyingKeyStore)
    key = PrivateKey.generate()
    request = _request(own_net, "crashed", key)
    issued = _rows(own_net, "issued")
    with pytest.raises(SystemExit):
        authority.issue(request, Profile.SYSTEM, actor=ACTOR)
    (row,) = [row for row in own_net.authority.ledger.rows() if row.state == "reserved"]
    assert row.der is None
    assert row.reservation.identity == str(own_net.identity("crashed"))
    assert _rows(own_net, "issued") == issued
    # Another process might be about to sign it; after the hold the holder of the key is helped.
    with pytest.raises(ZoneGateError, match="may be issued yet"):
        own_net.authority.issue(request, Profile.SYSTEM, actor=ACTOR)
    own_net.clock.advance(RESERVATION_HOLD.total_seconds() - 1)
    with pytest.raises(ZoneGateError):
        own_net.authority.issue(request, Profile.SYSTEM, actor=ACTOR)
    own_net.clock.advance(1)
    certificate = own_net.authority.issue(request, Profile.SYSTEM, actor=ACTOR)
    assert certificate.serial != row.reservation.serial
    # The serial of the crash stays in the ledger and cannot be revoked as if it had been issued.
    with pytest.raises(ZoneGateError) as refused:
        own_net.revoke(row.reservation.serial)
    assert refused.value.reason is Reason.E_UNKNOWN_SERIAL


@pytest.mark.parametrize("kind", [WrongKeyStore, WrongIdKeyStore])
def test_output_is_checked_before_it_is_given_out(own_net: TestNet, kind: type[CountingKeyStore]) -> None:
    authority, _ = _with_keystore(own_net, kind)
    with pytest.raises(ZoneGateError) as refused:
        authority.issue(_request(own_net, "withheld"), Profile.SYSTEM, actor=ACTOR)
    assert refused.value.reason is Reason.E_SIGNATURE
    assert _rows(own_net, "reserved") == 1
    last = own_net.authority.ledger.audit_rows()[-1].entry
    assert (last.result, last.reason) == (Result.REFUSED, Reason.E_SIGNATURE)


REFUSALS = {
    "CA-03 proof of possession": (make_csr(signer=PrivateKey.generate()), Reason.E_CSR),
    "CA-14 the other net": (
        build_request(PrivateKey.generate(), SubjectName("测试单位", "x"), Identity(Net.INTRA, ORGAN, "x")),
        Reason.E_PROFILE,
    ),
}


@pytest.mark.parametrize(("request_", "reason"), REFUSALS.values(), ids=REFUSALS)
def test_a_refusal_signs_nothing_and_is_audited(own_net: TestNet, request_: bytes, reason: Reason) -> None:
    authority, keystore = _with_keystore(own_net, CountingKeyStore)
    before = len(own_net.authority.ledger.rows())
    with pytest.raises(ZoneGateError) as refused:
        authority.issue(request_, Profile.SYSTEM, actor="an officer")
    assert refused.value.reason is reason
    assert keystore.signatures == 0
    assert len(own_net.authority.ledger.rows()) == before
    last = own_net.authority.ledger.audit_rows()[-1].entry
    assert (last.actor, last.act, last.result, last.reason) == ("an officer", "issue", "refused", reason.value)
    assert last.detail == refused.value.detail


def test_lint_refuses_before_the_real_key_signs(own_net: TestNet) -> None:
    # A URL that no rule admits, in a configuration that was never validated.
    authority, keystore = _with_keystore(own_net, CountingKeyStore)
    sub = own_net.authority.settings.sub.model_copy(update={"crl_urls": ["ftp://crl.extra.example/sub.crl"]})
    authority.settings = own_net.authority.settings.model_copy(update={"sub": sub})
    with pytest.raises(ZoneGateError) as refused:
        authority.issue(_request(own_net, "linted"), Profile.SYSTEM, actor=ACTOR)
    assert refused.value.reason is Reason.E_LINT
    assert "zg_crl_distribution_points" in refused.value.detail
    assert keystore.signatures == 0
    assert _rows(own_net, "reserved") == 0


def test_a_revoked_sub_ca_issues_nothing(own_net: TestNet) -> None:
    own_net.revoke(own_net.sub_ca.serial, RevocationReason.CA_COMPROMISE)
    with pytest.raises(ZoneGateError) as refused:
        own_net.authority.issue(_request(own_net, "late"), Profile.SYSTEM, actor=ACTOR)
    assert refused.value.reason is Reason.E_CERT_REVOKED


def test_an_expired_sub_ca_issues_nothing(own_net: TestNet) -> None:
    assert isinstance(own_net.clock, FakeClock)
    own_net.clock.advance(timedelta(days=3653).total_seconds())
    with pytest.raises(ZoneGateError) as refused:
        own_net.authority.issue(_request(own_net, "late"), Profile.SYSTEM, actor=ACTOR)
    assert refused.value.reason is Reason.E_VALIDITY


# --- other processes

KILLED_PROGRAM = textwrap.dedent(
    """
    import os, signal, sys
    from pathlib import Path
    from zonegate.ca.authority import Authority
    from zonegate.ca.ceremony import open_ca
    from zonegate.clock import SystemClock
    from zonegate.pki.certificate import Profile

    class Killed:
        def sign(self, key, message, *, signer_id):
            os.kill(os.getpid(), signal.SIGKILL)

    opened = open_ca(Path(sys.argv[1]), clock=SystemClock())
    authority = Authority(opened.settings, opened.ledger, Killed(), opened.publication, SystemClock())
    authority.issue(sys.stdin.buffer.read(), Profile.SYSTEM, actor="killed")
    """
)


def test_kill_9_while_signing_leaves_a_reserved_row(real_time_ca: Path) -> None:
    identity = Identity(Net.EXTRA, ORGAN, "killed")
    request = build_request(PrivateKey.generate(), SubjectName("测试单位", "killed"), identity)
    command = [sys.executable, "-c", KILLED_PROGRAM, str(real_time_ca / "ca")]
    assert subprocess.run(command, input=request, check=False).returncode == -signal.SIGKILL
    ledger = Ledger.open(real_time_ca / "ca" / "ledger.sqlite", Net.EXTRA)
    assert [row.state for row in ledger.rows()] == ["issued", "issued", "reserved"]
    assert ledger.rows()[-1].reservation.identity == str(identity)
    assert first_broken(ledger.audit_rows()) is None
    ledger.close()


ISSUER_PROGRAM = textwrap.dedent(
    """
    import json, sys
    from pathlib import Path
    from zonegate.ca.ceremony import open_ca
    from zonegate.ca.names import SubjectName
    from zonegate.ca.subscriber import build_request
    from zonegate.clock import SystemClock
    from zonegate.errors import ZoneGateError
    from zonegate.gm.keyfile import read_key_file
    from zonegate.gm.sm2 import PrivateKey
    from zonegate.identity import Identity, Net
    from zonegate.pki.certificate import Profile

    directory, organ, name, key_path, secret_path = sys.argv[1:]
    authority = open_ca(Path(directory), clock=SystemClock())
    shared = read_key_file(Path(key_path), Path(secret_path))
    print("ready", flush=True)
    sys.stdin.readline()
    issued, refused = [], []
    for number in range(25):
        for key in (PrivateKey.generate(), shared):
            identity = Identity(Net.EXTRA, organ, f"{name}-{number}")
            request = build_request(key, SubjectName("测试单位", identity.name), identity)
            try:
                issued.append(authority.issue(request, Profile.SYSTEM, actor=name).serial)
            except ZoneGateError as exc:
                refused.append(exc.reason.value)
    numbers = [authority.publish_crl(Profile.SUB_CA, actor=name).number]
    authority.close()
    print(json.dumps({"issued": issued, "refused": refused, "numbers": numbers}))
    """
)


@pytest.fixture
def real_time_ca(tmp_path: Path) -> Path:
    create_ca(tmp_path / "ca", founding_plan(Net.EXTRA), clock=SystemClock(), actor=ACTOR)
    write_key_file(tmp_path / "key", PrivateKey.generate(), new_secret_file(tmp_path / "secret"))
    return tmp_path


@pytest.mark.req("CE-07")
def test_two_processes_never_share_a_serial_a_key_or_a_crl_number(real_time_ca: Path) -> None:
    def start(name: str) -> subprocess.Popen[str]:
        arguments = [str(real_time_ca / "ca"), ORGAN, name, str(real_time_ca / "key"), str(real_time_ca / "secret")]
        return subprocess.Popen(
            [sys.executable, "-c", ISSUER_PROGRAM, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    with start("one") as one, start("two") as two:
        for process in (one, two):
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        outputs = [process.communicate("go\n", timeout=60)[0] for process in (one, two)]
    results = [json.loads(output) for output in outputs]
    serials = results[0]["issued"] + results[1]["issued"]
    # 25 keys of each process, and the key they share exactly once in all.
    assert len(serials) == len(set(serials)) == 51
    assert results[0]["refused"] + results[1]["refused"] == ["E_DUPLICATE_KEY"] * 49
    assert sorted(results[0]["numbers"] + results[1]["numbers"]) == [2, 3]
    ledger = Ledger.open(real_time_ca / "ca" / "ledger.sqlite", Net.EXTRA)
    assert {row.reservation.serial for row in ledger.rows() if row.state == "issued"} >= set(serials)
    assert len(ledger.rows()) == 53
    assert first_broken(ledger.audit_rows()) is None
    ledger.close()
