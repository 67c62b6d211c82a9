"""Knocks on a gateway's door with stock OpenSSL and tells what came back; JSON on stdout.

`--suites aes` is what every TLS client offers by default; `--suites sm` is RFC 8998, with or without a certificate.
TLS 1.3 shows the client success before the server has judged its certificate: the refusal is an alert on first read.
"""

import argparse
import json
import socket
import sys
from typing import Any

from cryptography.hazmat.bindings._rust import _openssl
from OpenSSL import SSL

SECONDS = 10.0
READ_BYTES = 65536


def pin(context: SSL.Context, function: str, value: bytes) -> None:
    """Restrict the context: pyOpenSSL has no call of its own for these two lists."""
    library: Any = _openssl.lib
    if getattr(library, function)(context._context, value) != 1:
        sys.exit(f"{function} {value!r}: not known here")


def context_of(arguments: argparse.Namespace) -> SSL.Context:
    """Return a client context that trusts anybody: a stranger wants in, not safety."""
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_min_proto_version(SSL.TLS1_3_VERSION)
    context.set_verify(SSL.VERIFY_NONE)
    context.set_alpn_protos([b"h2"])
    if arguments.suites == "aes":
        context.set_tls13_ciphersuites(b"TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384")
        return context
    context.set_tls13_ciphersuites(b"TLS_SM4_GCM_SM3")
    pin(context, "SSL_CTX_set1_curves_list", b"curveSM2")
    pin(context, "SSL_CTX_set1_sigalgs_list", b"sm2sig_sm3")
    if arguments.chain is not None:
        context.use_certificate_chain_file(arguments.chain)
        context.use_privatekey_file(arguments.key)
    return context


def knock(arguments: argparse.Namespace) -> dict[str, str]:
    """Return how the connection ended."""
    host, _, port = arguments.address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=SECONDS) as plain:
        plain.settimeout(None)
        connection = SSL.Connection(context_of(arguments), plain)
        connection.set_connect_state()
        try:
            connection.do_handshake()
            connection.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex("000000040000000000"))
            # The server speaks first in HTTP/2; a refused one hears the alert instead.
            while True:
                if connection.recv(READ_BYTES):
                    return {"status": "admitted", "alert": ""}
        except SSL.ZeroReturnError:
            return {"status": "closed", "alert": "close_notify"}
        except (SSL.SysCallError, OSError):
            return {"status": "closed", "alert": ""}
        except SSL.Error as error:
            texts = [entry[-1] for entry in error.args[0]] if error.args else []
            return {"status": "refused", "alert": "; ".join(texts)}


def main() -> int:
    """One knock."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address")
    parser.add_argument("--suites", choices=("sm", "aes"), default="sm")
    parser.add_argument("--chain")
    parser.add_argument("--key")
    print(json.dumps(knock(parser.parse_args())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
