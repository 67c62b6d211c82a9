"""[d] Whether the caller that an object names stands behind it: its own signed ticket, carried along, is checked here.

The exporting gateway vouches for the object; the ticket shows that the caller was there, signed for that gateway, at
that time. So a broken gateway cannot invent a sender. Pure. The ticket's form is `zonegate.gateway.ticket`.
"""

from collections.abc import Sequence

from zonegate.errors import ZoneGateError
from zonegate.gateway import ticket
from zonegate.gateway.boundary.header import ObjectHeader
from zonegate.pki.crl import Crl
from zonegate.pki.path import SignatureCache, StatusRule, TrustAnchors
from zonegate.reasons import Reason


def verify_sender(
    header: ObjectHeader,
    anchors: TrustAnchors,
    *,
    crls: Sequence[Crl] = (),
    signatures: SignatureCache | None = None,
) -> ticket.Ticket:
    """Return the caller's ticket, verified at the instant of sending; E_IMPORT_SIGNATURE, E_CERT_* or E_TRUST_DOMAIN.

    A caller that has been revoked since is refused too; how old the lists are was judged with the gateway's signature.
    """
    try:
        found = ticket.verify(
            header.ticket,
            anchors,
            ingress=header.gateway,
            now=header.created,
            crls=crls,
            status=StatusRule.STALE_ALLOWED,
            signatures=signatures,
        )
    except ZoneGateError as exc:
        if exc.reason in (Reason.E_TICKET, Reason.E_TICKET_EXPIRED):
            raise ZoneGateError(Reason.E_IMPORT_SIGNATURE, f"sender: {exc.detail}") from exc
        raise ZoneGateError(exc.reason, f"sender: {exc.detail}") from exc
    if str(found.identity) != header.caller or found.certificate.fingerprint != header.caller_certificate:
        detail = f"sender: the ticket is of {found.identity}, the header names {header.caller} or another certificate"
        raise ZoneGateError(Reason.E_IMPORT_SIGNATURE, detail)
    return found
