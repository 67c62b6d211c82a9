"""[a] The only module that reaches below pyOpenSSL's public interface; `probe` shows at start that what it does holds.

Four calls have no public form: choosing the key-exchange groups, choosing the signature algorithms, using an SM2 key
(`cryptography` cannot load one, and pyOpenSSL wants to take no others), and refusing a certificate with an error code
of our own, which is what makes OpenSSL send an alert that tells the peer the reason.
"""

from collections.abc import Callable, Sequence
from typing import Any

from cryptography.hazmat.bindings._rust import _openssl
from OpenSSL import SSL, crypto

from zonegate.errors import ZoneGateError
from zonegate.reasons import Reason

_lib: Any = _openssl.lib
_ffi: Any = _openssl.ffi

X509_OK = 0
# OpenSSL's last word on a chain of one certificate whose issuer it does not know.
X509_LEAF_UNVERIFIED = 21
# Time is judged by `check` with the product's clock, not by OpenSSL with the machine's.
_X509_V_FLAG_NO_CHECK_TIME = 0x200000

# The connection, the certificate at this depth, the depth, OpenSSL's error (0: fine so far); returns the error to end
# with, 0 to go on.
Judge = Callable[[SSL.Connection, bytes, int, int], int]


def versions() -> str:
    """Name the libraries that a message about a failed probe must name."""
    return SSL.OpenSSL_version(SSL.OPENSSL_VERSION).decode("ascii", "replace")


def _call(context: SSL.Context, function: str, value: bytes) -> None:
    call = getattr(_lib, function, None)
    if call is None:
        raise ZoneGateError(Reason.E_SELFTEST, f"{function}: is not in these bindings ({versions()})")
    if call(context._context, value) != 1:
        _lib.ERR_clear_error()
        raise ZoneGateError(Reason.E_SELFTEST, f"{function}: {value.decode()} is not known to {versions()}")


def pin_groups(context: SSL.Context, groups: Sequence[str]) -> None:
    """Allow these key-exchange groups and no other."""
    _call(context, "SSL_CTX_set1_curves_list", ":".join(groups).encode())


def pin_signatures(context: SSL.Context, signatures: Sequence[str]) -> None:
    """Allow these signature algorithms and no other."""
    _call(context, "SSL_CTX_set1_sigalgs_list", ":".join(signatures).encode())


def use_key(context: SSL.Context, pkcs8: bytes) -> None:
    """Use the private key in PKCS#8 DER; whether it fits the certificate is asked by `check_privatekey`."""
    try:
        key = crypto.load_privatekey(crypto.FILETYPE_ASN1, pkcs8)
    except crypto.Error as exc:
        raise ZoneGateError(Reason.E_SELFTEST, f"private key: {versions()} cannot load an SM2 key") from exc
    if _lib.SSL_CTX_use_PrivateKey(context._context, key._pkey) != 1:
        _lib.ERR_clear_error()
        raise ZoneGateError(Reason.E_CONFIG, "credential: key and certificate do not belong together")


def set_judge(context: SSL.Context, judge: Judge) -> None:
    """Demand a certificate of the peer, and let `judge` decide on every certificate of the chain, leaf last."""
    flags = SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT

    def callback(_ok: int, store_context: Any) -> int:
        pointer = _lib.X509_STORE_CTX_get_current_cert(store_context)
        if pointer == _ffi.NULL:
            return 0
        _lib.X509_up_ref(pointer)
        certificate = crypto.X509._from_raw_x509_ptr(pointer)
        ssl = _lib.X509_STORE_CTX_get_ex_data(store_context, _lib.SSL_get_ex_data_X509_STORE_CTX_idx())
        connection = SSL.Connection._reverse_mapping[ssl]
        verdict = judge(
            connection,
            crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate),
            _lib.X509_STORE_CTX_get_error_depth(store_context),
            _lib.X509_STORE_CTX_get_error(store_context),
        )
        _lib.X509_STORE_CTX_set_error(store_context, verdict)
        return int(verdict == X509_OK)

    # An exception inside (a new version moved something) prints a traceback and refuses: `onerror` gives the result 0.
    handle = _ffi.callback("int (*)(int, X509_STORE_CTX *)", callback, error=0)
    _lib.SSL_CTX_set_verify(context._context, flags, handle)
    context._verify_callback = handle  # cffi frees a callback that nobody holds


def trust(context: SSL.Context, certificates: Sequence[bytes]) -> None:
    """Let OpenSSL verify chains by these CA certificates, as a second opinion beside `check`."""
    store = context.get_cert_store()
    if store is None:
        raise ZoneGateError(Reason.E_SELFTEST, f"the context has no certificate store ({versions()})")
    for der in certificates:
        store.add_cert(crypto.load_certificate(crypto.FILETYPE_ASN1, der))
    store.set_flags(_X509_V_FLAG_NO_CHECK_TIME)


def error_text(code: int) -> str:
    """Return OpenSSL's words for an X509_V_ERR code."""
    return str(_ffi.string(_lib.X509_verify_cert_error_string(code)).decode("ascii", "replace"))
