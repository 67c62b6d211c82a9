"""`zonegate tsa`: run the time stamping authority of a net, have a file stamped, verify a token."""

import secrets
from pathlib import Path

import click

from zonegate.clock import SystemClock
from zonegate.errors import ZoneGateError
from zonegate.gm import selftest, sm3
from zonegate.pki.certificate import load_certificates
from zonegate.pki.crl import load_crl
from zonegate.pki.fetch import post
from zonegate.pki.path import TrustAnchors
from zonegate.pki.timestamp import TimeStamp, verify_token
from zonegate.pki.timestamp_message import REPLY_LIMIT_BYTES, encode_request, parse_reply
from zonegate.reasons import Reason

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_NONCE_BITS = 64
_CHUNK = 1 << 20

_trust = click.option("--trust", type=_FILE, required=True, help="The net's root certificate 根证书.")
_crl = click.option("--crl", type=_FILE, multiple=True, help="Revocation lists to respect 撤销列表.")
_file = click.argument("file", type=_FILE)


@click.group("tsa")
def command() -> None:
    """Stamp time on bytes, or verify a stamp.

    时间戳：签发、申请与校验。
    """


@command.command("serve")
@click.option("--config", type=_FILE, required=True, help="The authority's TOML file 配置文件.")
def serve(config: Path) -> None:
    """Serve time stamps over HTTP until SIGTERM.

    提供时间戳服务；SIGTERM 有序退出。
    """
    # Only the process that serves pays for the HTTP libraries.
    from zonegate.ca import tsaservice
    from zonegate.strictconf import load_toml

    selftest.run()
    settings = load_toml(config, tsaservice.TsaSettings)
    tsaservice.serve_tsa(settings, started=lambda address: click.echo(f"tsa serves 在线 {address}"))


@command.command("request")
@_file
@click.option("--url", required=True, help="The time stamping authority 时间戳服务地址.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="New file for the token 令牌文件.")
@_trust
@_crl
def request(file: Path, url: str, out: Path, trust: Path, crl: tuple[Path, ...]) -> None:
    """Have FILE stamped; the token is written only if it holds.

    为文件申请时间戳，校验通过才写出。
    """
    selftest.run()
    if out.exists():
        raise ZoneGateError(Reason.E_CONFIG, f"out: {out.name} exists already")
    digest, nonce = _digest(file), secrets.randbits(_NONCE_BITS)
    reply = post(
        url,
        encode_request(digest, nonce=nonce),
        send="application/timestamp-query",
        accept="application/timestamp-reply",
        limit=REPLY_LIMIT_BYTES,
        reason=Reason.E_TIMESTAMP,
    )
    token = parse_reply(reply)
    stamp = _verified(token, digest, trust, crl, nonce=nonce)
    out.write_bytes(token)
    _print(stamp)


@command.command("verify")
@_file
@click.option("--token", type=_FILE, required=True, help="The token 令牌文件.")
@_trust
@_crl
def verify(file: Path, token: Path, trust: Path, crl: tuple[Path, ...]) -> None:
    """Verify that a token holds for FILE.

    校验文件的时间戳。
    """
    selftest.run()
    _print(_verified(token.read_bytes(), _digest(file), trust, crl, nonce=None))


def _verified(token: bytes, digest: bytes, trust: Path, crl: tuple[Path, ...], *, nonce: int | None) -> TimeStamp:
    roots = load_certificates(trust.read_bytes())
    if roots[0].net is None:
        raise ZoneGateError(Reason.E_TRUST_DOMAIN, f"trust: {roots[0].subject} names no net")
    lists = [load_crl(path.read_bytes()) for path in crl]
    anchors = TrustAnchors(roots[0].net, roots)
    return verify_token(token, digest, anchors, SystemClock().now(), nonce=nonce, crls=lists)


def _digest(file: Path) -> bytes:
    running = sm3.new()
    with file.open("rb") as stream:
        while part := stream.read(_CHUNK):
            running.update(part)
    return bytes(running.digest())


def _print(stamp: TimeStamp) -> None:
    info = stamp.info
    accuracy = info.accuracy.total_seconds()
    click.echo(f"stamped 时间戳 {info.gen_time.isoformat()} ± {accuracy:g} s, serial 序号 {info.serial:x}")
    click.echo(f"  by 签发者 {stamp.signer.subject}, policy 策略 {info.policy}")
