"""A key centre beside a test net: opened by its holders, reached by CAs in memory, with whatever a test breaks."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from support.pki import ACTOR, IssuedCredential, TestNet
from zonegate.ca.audit import AuditEntry
from zonegate.ca.kmc.centre import Centre, Limits, found
from zonegate.ca.kmc.client import CentreClient
from zonegate.ca.kmc.recovery import Tribunal
from zonegate.ca.kmc.service import Service
from zonegate.ca.kmc.store import Store
from zonegate.ca.names import SubjectName
from zonegate.ca.subscriber import build_request
from zonegate.clock import Clock
from zonegate.gm.sm2 import PrivateKey
from zonegate.pki.certificate import Profile

HOLDERS = ("甲", "乙", "丙", "丁", "戊")
THRESHOLD = 3
LIMITS = Limits(threshold=3, target=6, retention=timedelta(days=3660))


@dataclass(frozen=True, slots=True)
class Parties:
    """Credentials of a centre and of two CAs' request signers; made once, they are dear."""

    centre: IssuedCredential
    ca: IssuedCredential
    other_ca: IssuedCredential


def make_parties(net: TestNet) -> Parties:
    return Parties(*(net.issue(Profile.SYSTEM, name) for name in ("kmc", "ca-request", "ca-second")))


class KmcLab:
    """One centre in a folder."""

    def __init__(
        self, path: Path, net: TestNet, parties: Parties, *, tribunal: Callable[[], Tribunal] | None = None
    ) -> None:
        self.net = net
        self.parties = parties
        self.clock: Clock = net.clock
        self.path = path / "keys.sqlite"
        store = Store.create(self.path, net.net)
        self.shares = found(store, holders=HOLDERS, threshold=THRESHOLD, actor=ACTOR, clock=self.clock)
        self.tribunal = tribunal
        self.credential = parties.centre.load()
        self.callers = {str(item.identity): item.certificate for item in (parties.ca, parties.other_ca)}
        self.centre = Centre(store, LIMITS, self.clock)
        self.service = self.serving(self.centre)

    def serving(self, centre: Centre) -> Service:
        return Service(centre, self.credential, self.callers, self.tribunal, self.clock)

    def reopened(self) -> Centre:
        """Another process on the same file."""
        return Centre(Store.open(self.path, self.net.net), LIMITS, self.clock)

    def unseal(self, centre: Centre | None = None) -> None:
        for share in self.shares[:THRESHOLD]:
            (centre or self.centre).give_share(share, actor=ACTOR)

    def client(
        self, who: IssuedCredential | None = None, exchange: Callable[[bytes], bytes] | None = None
    ) -> CentreClient:
        credential = (who or self.parties.ca).load()
        return CentreClient(exchange or self.service.answer, credential, self.parties.centre.certificate, self.clock)

    def audit(self) -> list[AuditEntry]:
        return [row.entry for row in self.centre.store.audit_rows()]

    def close(self) -> None:
        self.centre.close()


def dual_request(net: TestNet, name: str, key: PrivateKey) -> bytes:
    return build_request(key, SubjectName("测试单位", name), net.identity(name))
