"""`zonegate csr`: the PKCS#10 request of a sealed key, and the CA's answer with dual certificates."""

from pathlib import Path

import click

from zonegate.ca.names import SubjectName
from zonegate.ca.subscriber import accept_response, build_request
from zonegate.clock import SystemClock
from zonegate.errors import ZoneGateError
from zonegate.gm import keyfile, selftest
from zonegate.identity import parse_identity
from zonegate.pki.certificate import load_certificate
from zonegate.pki.csr_response import RESPONSE_MAX_BYTES
from zonegate.reasons import Reason


@click.group("csr")
def command() -> None:
    """Make certificate requests, accept the answers.

    生成证书请求，接收应答。
    """


@command.command()
@click.option("--key", type=click.Path(path_type=Path), required=True, help="Sealed key of `zonegate key new`.")
@click.option("--secret", type=click.Path(path_type=Path), required=True, help="File of its secret.")
@click.option("--identity", required=True, help="spiffe://<net>/<USCC>/<system> 身份.")
@click.option("--organization", required=True, help="Name of the organ 机构名称.")
@click.option("--unit", help="Its department 部门.")
@click.option("--name", help="Common name 名称; the system's name in the identity if left out.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="New file for the request, PEM.")
def new(
    key: Path, secret: Path, identity: str, organization: str, unit: str | None, name: str | None, out: Path
) -> None:
    """Make a request that proves possession of the key; the key stays here.

    生成证书请求，私钥不离开本机。
    """
    selftest.run()
    try:
        wanted = parse_identity(identity)
    except ValueError as exc:
        raise ZoneGateError(Reason.E_CSR, f"identity: {exc}") from exc
    try:
        subject = SubjectName(organization, name or wanted.name, unit)
    except ValueError as exc:
        raise ZoneGateError(Reason.E_CSR, f"subject.{exc}") from exc
    request = build_request(keyfile.read_key_file(key, secret), subject, wanted)
    _write_new(out, request)
    click.echo(f"request 请求 {out}: {wanted}, {subject}")


@command.command()
@click.option("--response", type=click.Path(path_type=Path), required=True, help="Answer of `ca issue --dual`.")
@click.option("--key", type=click.Path(path_type=Path), required=True, help="Sealed signing key of the request.")
@click.option("--secret", type=click.Path(path_type=Path), required=True, help="File of its secret.")
@click.option("--root", type=click.Path(path_type=Path), required=True, help="Root certificate of the net 根证书.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="New file for the signing chain.")
@click.option("--encryption-out", type=click.Path(path_type=Path), required=True, help="... for the encryption chain.")
@click.option("--encryption-key", type=click.Path(path_type=Path), required=True, help="... for its sealed key.")
def accept(
    response: Path, key: Path, secret: Path, root: Path, out: Path, encryption_out: Path, encryption_key: Path
) -> None:
    """Check the answer with dual certificates and open the enveloped encryption key into a sealed file.

    校验双证书应答，取出加密密钥并加密保存。
    """
    selftest.run()
    signing_key = keyfile.read_key_file(key, secret)
    anchor = load_certificate(_read(root))
    accepted = accept_response(_read(response), signing_key, anchor, now=SystemClock().now())
    # The key first: certificates without it would look complete.
    sealing = keyfile.read_secret_file(secret)
    keyfile.write_key_file(encryption_key, accepted.pair.encryption_key, sealing)
    _write_new(out, accepted.signing_pem)
    _write_new(encryption_out, accepted.encryption_pem)
    click.echo(f"accepted 已接收 {accepted.pair.signing.identity}")
    click.echo(f"  signing 签名 {out}, encryption 加密 {encryption_out}, key 密钥 {encryption_key}")


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(RESPONSE_MAX_BYTES + 1)
    except OSError as exc:
        raise ZoneGateError(Reason.E_CONFIG, f"{path.name}: cannot be read: {exc.strerror}") from exc


def _write_new(path: Path, content: bytes) -> None:
    try:
        with path.open("xb") as stream:
            stream.write(content)
    except OSError as exc:
        raise ZoneGateError(Reason.E_CONFIG, f"{path.name}: cannot be written: {exc.strerror}") from exc
