"""The caller's own ticket: it must be the caller's, for that gateway, at that time, and not revoked since."""

from datetime import timedelta

import pytest

from support.boundary import CALLER, GATEWAY, caller_credential, caller_ticket, figure_header, hand_net
from support.clock import NOON
from support.x509_builder import ListTemplate, crl_der, entry
from zonegate.errors import ZoneGateError
from zonegate.gateway import ticket
from zonegate.gateway.boundary.sender import verify_sender
from zonegate.identity import Net
from zonegate.pki.certificate import Profile
from zonegate.pki.crl import load_crl
from zonegate.reasons import Reason

EXTRA = hand_net(Net.EXTRA)
MADE = NOON - timedelta(minutes=1)


def crl(*serials):
    entries = [entry(serial, NOON) for serial in serials] or None
    # Published after the object was made: that it is younger than the object must not matter.
    template = ListTemplate(entries=entries, this_update=NOON, next_update=NOON + timedelta(hours=1))
    return load_crl(crl_der(template, EXTRA.sub_ca.certificate.subject_der, EXTRA.sub_ca.key))


def test_the_callers_ticket_verifies_at_the_time_of_sending():
    assert str(verify_sender(figure_header(), EXTRA.anchors, crls=(crl(),)).identity) == CALLER


def other(uri, profile=Profile.SYSTEM):
    return EXTRA.issue(uri, profile, organ=uri.split("/")[3])


REFUSED = {
    "no ticket": (lambda: {"ticket": b""}, Reason.E_IMPORT_SIGNATURE),
    "garbage": (lambda: {"ticket": b"\x30\x03abc"}, Reason.E_IMPORT_SIGNATURE),
    "for another gateway": (lambda: {"ticket": caller_ticket(gateway=GATEWAY + "2")}, Reason.E_IMPORT_SIGNATURE),
    "expired then": (lambda: {"ticket": caller_ticket(MADE - timedelta(minutes=11))}, Reason.E_IMPORT_SIGNATURE),
    "signed later": (lambda: {"ticket": caller_ticket(MADE + timedelta(minutes=2))}, Reason.E_IMPORT_SIGNATURE),
    "altered": (lambda: {"ticket": caller_ticket()[:-1] + b"\0"}, Reason.E_IMPORT_SIGNATURE),
    "of another system": (
        lambda: {"ticket": ticket.issue(other(CALLER + "2"), GATEWAY, now=MADE)},
        Reason.E_IMPORT_SIGNATURE,
    ),
    "of another certificate of the caller": (
        lambda: {"ticket": ticket.issue(other(CALLER), GATEWAY, now=MADE)},
        Reason.E_IMPORT_SIGNATURE,
    ),
    "of the other net": (
        lambda: {
            "ticket": ticket.issue(
                hand_net(Net.INTRA).issue(CALLER.replace("extra", "intra"), Profile.SYSTEM, organ=CALLER.split("/")[3]),
                GATEWAY,
                now=MADE,
            )
        },
        Reason.E_TRUST_DOMAIN,
    ),
}


@pytest.mark.parametrize(("change", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_the_caller_did_not_sign_is_refused(change, reason):
    with pytest.raises(ZoneGateError) as caught:
        verify_sender(figure_header(**change()), EXTRA.anchors)
    assert caught.value.reason is reason
    assert caught.value.detail.startswith("sender: ")


def test_a_caller_revoked_since_is_refused():
    with pytest.raises(ZoneGateError) as caught:
        verify_sender(figure_header(), EXTRA.anchors, crls=(crl(caller_credential().leaf.serial),))
    assert caught.value.reason is Reason.E_CERT_REVOKED
