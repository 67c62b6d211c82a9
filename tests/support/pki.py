"""A net's CA for tests: root, sub-CA and whatever certificates a test needs, all made by the real CA package.

The CA was set up `FOUNDED_BEFORE` the clock's time, so that expired certificates can be issued by an authority whose
clock stood at the time of issuing: nothing is forged.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from support.clock import FakeClock
from zonegate.ca.authority import Authority, Term
from zonegate.ca.ceremony import CeremonyPlan, create_ca, open_ca
from zonegate.ca.names import SubjectName
from zonegate.ca.profile import BACKDATE
from zonegate.ca.subscriber import build_request
from zonegate.clock import Clock
from zonegate.gm import keyfile, pem
from zonegate.gm.sm2 import PrivateKey
from zonegate.identity import Identity, Net
from zonegate.pki.certificate import Certificate, Profile
from zonegate.pki.credential import Credential, load_credential
from zonegate.pki.crl import Crl, RevocationReason, load_crl
from zonegate.pki.path import TrustAnchors

FOUNDED_BEFORE = timedelta(days=400)
ACTOR = "test"
# A synthetic code of standards.md C6.
ORGAN = "111000009900000172"
CA_ORGAN_NAME = "测试网络信任服务中心"


@dataclass(frozen=True, slots=True)
class IssuedCredential:
    """The files of one holder. `plain_key_path` is an unsealed PKCS#8 PEM, for stock TLS programs in tests only."""

    cert_path: Path
    key_path: Path
    secret_path: Path
    plain_key_path: Path
    identity: Identity
    certificate: Certificate

    @property
    def serial(self) -> int:
        return self.certificate.serial

    def load(self) -> Credential:
        return load_credential(self.cert_path, self.key_path, self.secret_path)


class TestNet:
    """One net's trust service in a folder."""

    __test__ = False

    def __init__(self, path: Path, net: Net, clock: Clock) -> None:
        self.path = path
        self.net = net
        self.clock = clock
        self.ca_path = path / "ca"
        self.credentials_path = path / "credentials"
        self.authority = self._authority(clock)

    @property
    def root_path(self) -> Path:
        return self.authority.publication.certificate_path(Profile.ROOT)

    @property
    def sub_path(self) -> Path:
        return self.authority.publication.certificate_path(Profile.SUB_CA)

    @property
    def crl_paths(self) -> tuple[Path, Path]:
        """The lists of the root and of the sub-CA, DER."""
        publication = self.authority.publication
        return publication.crl_path(Profile.ROOT), publication.crl_path(Profile.SUB_CA)

    @property
    def crl_path(self) -> Path:
        """The folder of both lists."""
        return self.authority.publication.folder

    @property
    def root(self) -> Certificate:
        return self.authority.certificate(Profile.ROOT)

    @property
    def sub_ca(self) -> Certificate:
        return self.authority.certificate(Profile.SUB_CA)

    def anchors(self) -> TrustAnchors:
        return TrustAnchors(self.net, (self.root,))

    def crls(self) -> tuple[Crl, ...]:
        return tuple(load_crl(path.read_bytes()) for path in self.crl_paths)

    def identity(self, name: str, organ: str = ORGAN) -> Identity:
        return Identity(self.net, organ, name)

    def issue(
        self,
        profile: Profile,
        name: str,
        *,
        organ: str = ORGAN,
        organ_name: str = "测试单位",
        days: int | None = None,
        not_before: datetime | None = None,
        not_after: datetime | None = None,
        key: PrivateKey | None = None,
    ) -> IssuedCredential:
        """Issue to a new key (or to `key`); an end in the past is issued by the CA as it was then."""
        identity = self.identity(name, organ)
        private = key or PrivateKey.generate()
        request = build_request(private, SubjectName(organ_name, name), identity)
        now = self.clock.now()
        if days is not None:
            not_after = (not_before or now) + timedelta(days=days)
        certificate = self._issue_at(now, request, profile, Term(not_before, not_after))
        return self._write(certificate, private, identity)

    def revoke(self, serial: int, reason: RevocationReason = RevocationReason.KEY_COMPROMISE) -> None:
        """Revoke; `write_crl` publishes it."""
        self.authority.revoke(serial, reason, actor=ACTOR)

    def release(self, serial: int) -> None:
        self.authority.release(serial, actor=ACTOR)

    def write_crl(self) -> Path:
        """Publish the sub-CA's next list and return the folder of the lists; a fake clock may advance by a second."""
        self.authority.publish_crl(Profile.SUB_CA, actor=ACTOR)
        return self.crl_path

    def write_root_crl(self) -> Path:
        self.authority.publish_crl(Profile.ROOT, actor=ACTOR)
        return self.crl_path

    def close(self) -> None:
        self.authority.close()

    def _authority(self, clock: Clock) -> Authority:
        # A list costs its issuer a second: a fake clock is advanced, a real one waited for.
        pause = clock.advance if isinstance(clock, FakeClock) else None
        return open_ca(self.ca_path, clock=clock, pause=pause)

    def _issue_at(self, now: datetime, request: bytes, profile: Profile, term: Term) -> Certificate:
        if term.not_after is None or term.not_after > now:
            return self.authority.issue(request, profile, actor=ACTOR, term=term)
        start = term.not_before or term.not_after - timedelta(days=1)
        then = self._authority(FakeClock(start + BACKDATE if start + BACKDATE < term.not_after else start))
        try:
            return then.issue(request, profile, actor=ACTOR, term=Term(start, term.not_after))
        finally:
            then.close()

    def _write(self, certificate: Certificate, private: PrivateKey, identity: Identity) -> IssuedCredential:
        folder = self.credentials_path / f"{identity.name}-{certificate.serial:032x}"
        folder.mkdir(parents=True)
        issued = IssuedCredential(
            cert_path=folder / "chain.pem",
            key_path=folder / "key.pem",
            secret_path=folder / "secret",
            plain_key_path=folder / "plain-key.pem",
            identity=identity,
            certificate=certificate,
        )
        issued.cert_path.write_bytes(certificate.pem + self.sub_ca.pem)
        keyfile.write_key_file(issued.key_path, private, keyfile.new_secret_file(issued.secret_path))
        issued.plain_key_path.write_bytes(pem.encode("PRIVATE KEY", private.to_pkcs8()))
        return issued


def founding_plan(net: Net) -> CeremonyPlan:
    return CeremonyPlan(net, CA_ORGAN_NAME, f"http://crl.{net.value}.example")


def make_net(path: Path, net: Net, clock: Clock) -> TestNet:
    """Make root, sub-CA and fresh lists of `net` below `path`."""
    path.mkdir(parents=True, exist_ok=True)
    create_ca(path / "ca", founding_plan(net), clock=FakeClock(clock.now() - FOUNDED_BEFORE), actor=ACTOR)
    made = TestNet(path, net, clock)
    made.write_root_crl()
    made.write_crl()
    return made
