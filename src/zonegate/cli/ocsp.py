"""`zonegate ocsp`: run the responder of a net, and ask one."""

import secrets
from pathlib import Path

import click

from zonegate.clock import SystemClock
from zonegate.errors import ZoneGateError
from zonegate.gm import selftest
from zonegate.pki.certificate import load_certificates
from zonegate.pki.fetch import post
from zonegate.pki.ocsp import check_ocsp
from zonegate.pki.ocsp_message import RESPONSE_LIMIT_BYTES
from zonegate.pki.ocsp_request import NONCE_MAX_BYTES, encode_request, make_cert_id
from zonegate.reasons import Reason

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group("ocsp")
def command() -> None:
    """Answer for the status of certificates, or ask.

    在线证书状态：响应与查询。
    """


@command.command("serve")
@click.option("--config", type=_FILE, required=True, help="The responder's TOML file 配置文件.")
def serve(config: Path) -> None:
    """Serve OCSP, revocation lists and CA certificates over HTTP until SIGTERM.

    提供 OCSP、CRL 与 CA 证书下载；SIGTERM 有序退出。
    """
    # Only the process that serves pays for the HTTP libraries.
    from zonegate.ca import ocspservice
    from zonegate.strictconf import load_toml

    selftest.run()
    settings = load_toml(config, ocspservice.OcspSettings)
    ocspservice.serve_ocsp(settings, started=lambda address: click.echo(f"ocsp serves 在线 {address}"))


@command.command("ask")
@click.argument("certificate", type=_FILE)
@click.option("--issuer", type=_FILE, required=True, help="The certificate of its CA 签发者证书.")
@click.option("--url", help="The responder; if left out, the one that the certificate names 响应器地址.")
@click.option("--no-nonce", is_flag=True, help="Take the answer that everybody gets 接受预签名应答.")
def ask(certificate: Path, issuer: Path, url: str | None, no_nonce: bool) -> None:  # noqa: FBT001 - click's flag
    """Ask a responder about a CERTIFICATE and judge the answer.

    查询一张证书的状态并校验应答。
    """
    selftest.run()
    subject = load_certificates(certificate.read_bytes())[0]
    ca = load_certificates(issuer.read_bytes())[0]
    address = url or next(iter(subject.ocsp_urls), None)
    if address is None:
        raise ZoneGateError(Reason.E_CONFIG, "url: the certificate names no responder, --url is needed")
    nonce = None if no_nonce else secrets.token_bytes(NONCE_MAX_BYTES)
    answer = post(
        address,
        encode_request((make_cert_id(subject.serial, ca),), nonce),
        send="application/ocsp-request",
        accept="application/ocsp-response",
        limit=RESPONSE_LIMIT_BYTES,
        reason=Reason.E_OCSP,
    )
    status = check_ocsp(answer, subject, ca, SystemClock().now(), nonce)
    click.echo(f"good 有效: {subject.subject}")
    click.echo(f"  from 自 {status.this_update.isoformat()}, before 至 {status.next_update.isoformat()}")
    click.echo(f"  says 响应器 {status.signer.subject}")
