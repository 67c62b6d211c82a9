"""A net with its people: a founded roster, officers of several organs, and proposals and approvals by them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from support.clock import NOON, FakeClock
from support.pki import ORGAN, TestNet, make_net
from zonegate.approval.act import ActKind, Proposal, propose
from zonegate.approval.delegation import Delegation
from zonegate.approval.record import Approval, sign
from zonegate.approval.rules import Part
from zonegate.identity import Identity, Net
from zonegate.pki.certificate import Profile
from zonegate.pki.credential import Credential
from zonegate.roles.change import Change, Found, Grant, Organ, found, grant
from zonegate.roles.role import Role
from zonegate.roles.roster import Roster, append, propose_change

SUPERIOR = "11100000990000025W"
OTHER_ORGAN = "11320000990100018D"
UNTIL = NOON + timedelta(days=300)
PAYLOAD = b"release: object 7"
VIEW = "导出对象 7 至外网\nrelease object 7 to the extranet"

# name -> organ, role: who is there from the beginning
PEOPLE: dict[str, tuple[str, Role]] = {
    "sun": (ORGAN, Role.SYSTEM_ADMIN),
    "zhao": (ORGAN, Role.SECURITY_OFFICER),
    "qian": (ORGAN, Role.SECURITY_OFFICER),
    "li": (ORGAN, Role.SECURITY_OFFICER),
    "zhou": (ORGAN, Role.AUDIT_ADMIN),
    "wu": (ORGAN, Role.AUDITOR),
    "zheng": (ORGAN, Role.RA_OPERATOR),
    "wang": (ORGAN, Role.RA_OPERATOR),
    "feng": (ORGAN, Role.KMC_OPERATOR),
    "chen": (ORGAN, Role.CLASSIFYING_OFFICER),
    "chu": (ORGAN, Role.HANDLER),
    "wei": (SUPERIOR, Role.CLASSIFYING_OFFICER),
    "jiang": (OTHER_ORGAN, Role.CLASSIFYING_OFFICER),
    "shen": (OTHER_ORGAN, Role.SECURITY_OFFICER),
}


@dataclass
class World:
    """One net and whoever signs in it."""

    net: TestNet
    credentials: dict[str, Credential] = field(default_factory=dict)
    roster: Roster | None = None
    nonces: int = 0

    @property
    def standing(self) -> Roster:
        assert self.roster is not None
        return self.roster

    def identity(self, name: str) -> Identity:
        found = self.credentials[name].identity
        assert found is not None
        return found

    def officer(self, name: str, organ: str = ORGAN, **more: object) -> Credential:
        """Issue an officer's certificate and remember it under `name`."""
        made = self.net.issue(Profile.OFFICER, name, organ=organ, days=400, **more).load()  # type: ignore[arg-type]
        self.credentials[name] = made
        return made

    def grant(self, name: str, role: Role, *, person: str | None = None, until: datetime = UNTIL) -> Grant:
        credential = self.credentials[name]
        return grant(self.identity(name), person or f"p-{name}", role, until, credential.chain)

    def founding(self) -> Found:
        grants = [self.grant(name, role) for name, (_, role) in PEOPLE.items()]
        return found(self.net.net, grants, [Organ(ORGAN, SUPERIOR), Organ(SUPERIOR, None)])

    def nonce(self) -> bytes:
        self.nonces += 1
        return self.nonces.to_bytes(16, "big")

    def change(
        self,
        change: Change,
        signers: Sequence[tuple[str, Role, Part]],
        *,
        applicant: str | None = None,
        now: datetime = NOON,
        roster: Roster | None = None,
    ) -> Roster:
        """Propose, sign and append; the world's roster is the one that comes back."""
        before = roster or self.roster
        proposal = propose_change(
            before, change, applicant=self.identity(applicant or signers[0][0]), now=now, nonce=self.nonce()
        )
        approvals = [self.sign(proposal, name, role, part, now=now) for name, role, part in signers]
        made = append(before, change, proposal, approvals, now=now, anchors=self.net.anchors(), crls=self.net.crls())
        self.roster = made
        return made

    def sign(
        self,
        proposal: Proposal,
        name: str,
        role: Role | None = None,
        part: Part = Part.APPROVE,
        *,
        now: datetime = NOON,
        delegation: Delegation | None = None,
    ) -> Approval:
        credential = self.credentials[name]
        return sign(
            proposal,
            role or PEOPLE[name][1],
            part=part,
            chain=credential.chain,
            key=credential.key,
            now=now,
            delegation=delegation,
        )

    def proposal(self, kind: ActKind = ActKind.RELEASE, applicant: str = "chu", **changed: object) -> Proposal:
        fields: dict[str, object] = {
            "payload": PAYLOAD,
            "view": VIEW,
            "target": "ext.shared/object-7",
            "organ": ORGAN,
            "applicant": self.identity(applicant),
            "not_before": NOON - timedelta(hours=1),
            "not_after": NOON + timedelta(hours=8),
            "nonce": self.nonce(),
        }
        return propose(kind, **{**fields, **changed})  # type: ignore[arg-type]


FOUNDERS = (
    ("sun", Role.SYSTEM_ADMIN, Part.APPROVE),
    ("zhou", Role.AUDIT_ADMIN, Part.APPROVE),
    ("zhao", Role.SECURITY_OFFICER, Part.APPROVE),
    ("qian", Role.SECURITY_OFFICER, Part.APPROVE),
)


def make_world(path: Path, net: Net = Net.INTRA) -> World:
    """Return a founded net."""
    clock = FakeClock(NOON - timedelta(hours=3))
    world = World(make_net(path, net, clock))
    for name, (organ, _) in PEOPLE.items():
        world.officer(name, organ)
    world.net.write_crl()
    world.change(world.founding(), FOUNDERS, now=NOON - timedelta(hours=2))
    clock.advance((NOON - clock.now()).total_seconds())
    return world


Build = Callable[[World], object]
