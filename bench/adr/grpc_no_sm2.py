"""Shows what grpcio's own TLS does with SM2: ADR 0002 quotes the output of this program.

Four handshakes on loopback, each with a certificate made by the openssl command: grpcio with P-256 (the control: it
works), a grpcio server with SM2, a grpcio client towards an SM2 server, and that server with pyOpenSSL as its client
(the other control: it works).
"""

import os
import socket
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

# grpcio says why a handshake failed in its log only; it reads this when it is imported.
os.environ["GRPC_VERBOSITY"] = "ERROR"

import grpc
from cryptography.hazmat.bindings._rust import _openssl
from OpenSSL import SSL

SECONDS = 5
P256 = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]
SM2 = ["-algorithm", "SM2"]


def make_certificate(folder: Path, name: str, algorithm: list[str], signing: list[str]) -> tuple[Path, Path]:
    key, certificate = folder / f"{name}.key", folder / f"{name}.crt"
    subprocess.run(["openssl", "genpkey", *algorithm, "-out", key], check=True, capture_output=True)
    request = ["openssl", "req", "-x509", "-new", "-key", str(key), "-out", str(certificate), "-days", "2", *signing]
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*request, *subject], check=True, capture_output=True)
    return key, certificate


def grpc_server(key: Path, certificate: Path) -> tuple[grpc.Server, int]:
    server = grpc.server(ThreadPoolExecutor(1))
    credentials = grpc.ssl_server_credentials([(key.read_bytes(), certificate.read_bytes())])
    return server, server.add_secure_port("localhost:0", credentials)


def grpc_client(port: int, root: Path) -> str:
    with grpc.secure_channel(f"localhost:{port}", grpc.ssl_channel_credentials(root.read_bytes())) as channel:
        try:
            channel.unary_unary("/adr.Echo/Say", bytes, bytes)(b"", timeout=SECONDS)
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                return "handshake done, the server answered that it has no such method"
            return f"{error.code().name}: {error.details()}"
    return "answered"


def sm2_context(key: Path, certificate: Path) -> SSL.Context:
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_min_proto_version(SSL.TLS1_3_VERSION)
    context.set_tls13_ciphersuites(b"TLS_SM4_GCM_SM3")
    assert _openssl.lib.SSL_CTX_set1_curves_list(context._context, b"curveSM2") == 1
    assert _openssl.lib.SSL_CTX_set1_sigalgs_list(context._context, b"sm2sig_sm3") == 1
    context.use_certificate_chain_file(str(certificate))
    context.use_privatekey_file(str(key))
    return context


def sm2_server(context: SSL.Context, findings: list[str]) -> int:
    listener = socket.create_server(("localhost", 0))

    def serve() -> None:
        while True:
            peer, _ = listener.accept()
            connection = SSL.Connection(context, peer)
            connection.set_accept_state()
            try:
                connection.do_handshake()
                findings.append(f"{connection.get_protocol_version_name()} {connection.get_cipher_name()}")
            except SSL.Error as error:
                findings.append(f"refused: {error.args[0][-1][-1] if error.args and error.args[0] else error!r}")
            finally:
                connection.close()

    threading.Thread(target=serve, daemon=True).start()
    return int(listener.getsockname()[1])


def sm2_client(context: SSL.Context, port: int) -> str:
    connection = SSL.Connection(context, socket.create_connection(("localhost", port)))
    connection.set_connect_state()
    connection.do_handshake()
    return f"{connection.get_protocol_version_name()} {connection.get_cipher_name()}"


def main() -> None:
    print("grpcio", version("grpcio"), "pyOpenSSL", version("pyopenssl"), "python", sys.version.split()[0])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        p256 = make_certificate(folder, "p256", P256, ["-sha256"])
        sm2 = make_certificate(folder, "sm2", SM2, ["-sm3", "-sigopt", "distid:1234567812345678"])

        server, port = grpc_server(*p256)
        server.start()
        print("1. grpcio client, grpcio server, P-256:", grpc_client(port, p256[1]))
        server.stop(None)

        try:
            grpc_server(*sm2)
            print("2. grpcio server, SM2: took the certificate")
        except RuntimeError as error:
            print("2. grpcio server, SM2:", error)

        findings: list[str] = []
        context = sm2_context(*sm2)
        port = sm2_server(context, findings)
        print("3. grpcio client, SM2 server:", grpc_client(port, p256[1]))
        print("   what that server saw:", findings[0] if findings else "nothing")
        print("   with the SM2 certificate as its root:", grpc_client(port, sm2[1]))
        print("4. pyOpenSSL client, SM2 server:", sm2_client(context, port))


if __name__ == "__main__":
    main()
