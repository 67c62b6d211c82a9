from datetime import timedelta

import pytest

from support.clock import NOON
from support.forge import ForgedNet
from zonegate.gateway.tls.channel import Peer
from zonegate.gateway.tls.check import peer_of
from zonegate.gateway.tls.live import LiveChannels
from zonegate.reasons import Reason

NET = ForgedNet()


class Ended:
    """A channel that remembers how it was ended and leaves the index as a real one does."""

    def __init__(self, live: LiveChannels, peer: Peer) -> None:
        self.live, self.peer = live, peer
        self.reasons: list[Reason] = []
        self.details: list[str] = []
        live.add(self)

    def abort(self, reason: Reason, detail: str = "") -> None:
        self.reasons.append(reason)
        self.details.append(detail)
        self.live.discard(self)


def channel(live: LiveChannels, name: str, **fields: object) -> Ended:
    leaf = NET.leaf(name, **fields)
    return Ended(live, peer_of("192.0.2.1", (leaf.certificate, NET.sub_ca.certificate)))


@pytest.mark.req("RV-04")
def test_a_revoked_leaf_ends_its_own_channels_only():
    live = LiveChannels()
    first, second, other = (channel(live, name, serial=serial) for name, serial in (("a", 7), ("a", 7), ("b", 8)))
    issuer = NET.sub_ca.certificate.subject_der
    assert live.abort_revoked([(issuer, 7), (issuer, 99), (NET.root.certificate.subject_der, 8)]) == 2
    assert (first.reasons, second.reasons, other.reasons) == ([Reason.E_CERT_REVOKED], [Reason.E_CERT_REVOKED], [])
    assert list(live) == [other]


@pytest.mark.req("RV-04")
def test_a_revoked_sub_ca_ends_every_leaf_below_it():
    live = LiveChannels()
    channels = [channel(live, name) for name in ("a", "b")]
    assert live.abort_revoked([(NET.root.certificate.subject_der, NET.sub_ca.certificate.serial)]) == 2
    assert all(one.reasons == [Reason.E_CERT_REVOKED] for one in channels)
    assert len(live) == 0


def test_a_channel_ends_with_its_certificate():
    live = LiveChannels()
    short = channel(live, "short", not_after=NOON + timedelta(hours=1))
    long = channel(live, "long")
    assert live.abort_expired(NOON + timedelta(minutes=59, seconds=59)) == 0
    assert live.abort_expired(NOON + timedelta(hours=1)) == 1
    assert (short.reasons, long.reasons) == ([Reason.E_CERT_EXPIRED], [])


def test_discard_leaves_nothing_behind():
    live = LiveChannels()
    one = channel(live, "a")
    live.discard(one)
    live.discard(one)
    assert not live._by_certificate
    assert len(live) == 0
