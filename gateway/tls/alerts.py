"""[d] TLS alerts: numbers and names (RFC 8446 section 6), which one a refusal sends, what a received one is called.

Pure. A refused handshake has only its alert on the wire; the reason itself is in the log, the metric and the counted
record of the side that refused.
"""

from enum import IntEnum

from zonegate.reasons import Reason

ALERT_RECORD_TYPE = 21
_HANDSHAKE_RECORD = b"\x16"
_LEVEL_FATAL = 2


class Alert(IntEnum):
    """AlertDescription of RFC 8446 6; only what TLS 1.3 still uses."""

    CLOSE_NOTIFY = 0
    UNEXPECTED_MESSAGE = 10
    BAD_RECORD_MAC = 20
    RECORD_OVERFLOW = 22
    HANDSHAKE_FAILURE = 40
    BAD_CERTIFICATE = 42
    UNSUPPORTED_CERTIFICATE = 43
    CERTIFICATE_REVOKED = 44
    CERTIFICATE_EXPIRED = 45
    CERTIFICATE_UNKNOWN = 46
    ILLEGAL_PARAMETER = 47
    UNKNOWN_CA = 48
    ACCESS_DENIED = 49
    DECODE_ERROR = 50
    DECRYPT_ERROR = 51
    PROTOCOL_VERSION = 70
    INSUFFICIENT_SECURITY = 71
    INTERNAL_ERROR = 80
    USER_CANCELED = 90
    MISSING_EXTENSION = 109
    CERTIFICATE_REQUIRED = 116
    NO_APPLICATION_PROTOCOL = 120

    @property
    def label(self) -> str:
        """The name as RFC 8446 writes it."""
        return self.name.lower()


# What a refused ClientHello is answered with. E_TLS_RATE and E_CONNECTIONS send nothing: they must stay cheap.
_HELLO_ALERTS = {
    Reason.E_TLS_PROTOCOL: Alert.DECODE_ERROR,
    Reason.E_TLS_VERSION: Alert.PROTOCOL_VERSION,
    Reason.E_TLS_SUITE: Alert.HANDSHAKE_FAILURE,
    Reason.E_TLS_GROUP: Alert.HANDSHAKE_FAILURE,
    Reason.E_TLS_SIGNATURE: Alert.HANDSHAKE_FAILURE,
    Reason.E_TLS_ALPN: Alert.NO_APPLICATION_PROTOCOL,
}


def hello_refusal(reason: Reason, first_byte: bytes) -> bytes:
    """Return the fatal alert record for a refused ClientHello, or nothing.

    Nothing where silence is cheaper, and for a peer that does not speak TLS: it could not read an alert.
    """
    alert = _HELLO_ALERTS.get(reason)
    if alert is None or first_byte != _HANDSHAKE_RECORD:
        return b""
    return bytes((ALERT_RECORD_TYPE, 3, 3, 0, 2, _LEVEL_FATAL, alert))


# The X509_V_ERR_* codes that make OpenSSL send the alert that fits the reason (ssl_x509err2alert).
_X509_ERRORS = {
    Reason.E_CERT_REVOKED: 23,  # certificate_revoked
    Reason.E_CERT_EXPIRED: 10,  # certificate_expired
    Reason.E_TRUST_DOMAIN: 19,  # unknown_ca
    Reason.E_CERT_USAGE: 26,  # unsupported_certificate
    Reason.E_TLS_SIGNATURE: 26,
    Reason.E_CERT_CHAIN: 7,  # decrypt_error
    Reason.E_CERT_NOT_YET_VALID: 9,  # bad_certificate
}
X509_APPLICATION_VERIFICATION = 50  # handshake_failure: the chain is fine, the identity is not wanted here


def x509_error(reason: Reason) -> int:
    """Return the X509_V_ERR code whose alert tells the peer most of `reason`."""
    return _X509_ERRORS.get(reason, X509_APPLICATION_VERIFICATION)


def alert_name(openssl_text: str) -> str | None:
    """Return the alert's name in an OpenSSL reason string such as ``tls alert unknown ca``, or None."""
    head, found, tail = openssl_text.partition(" alert ")
    if not found or not head.startswith(("tls", "ssl")):
        return None
    return tail.replace(" ", "_")
