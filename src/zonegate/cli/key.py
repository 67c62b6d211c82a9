"""`zonegate key`: SM2 key pairs as sealed files beside the files of their secrets. A key never leaves the two."""

from pathlib import Path

import click

from zonegate.errors import ZoneGateError
from zonegate.gm import enveloped, keyfile, pem, selftest, sm3
from zonegate.gm.sm2 import PrivateKey
from zonegate.reasons import Reason

ENVELOPE_LABEL = "SM2 ENVELOPED KEY"
_ENVELOPE_FILE_LIMIT_BYTES = 4096


@click.group("key")
def command() -> None:
    """Make SM2 key pairs.

    生成 SM2 密钥对。
    """


@command.command()
@click.option("--out", type=click.Path(path_type=Path), required=True, help="New file for the sealed key.")
@click.option(
    "--secret", type=click.Path(path_type=Path), required=True, help="File of the secret; made if it is not there."
)
def new(out: Path, secret: Path) -> None:
    """Make a key pair, sealed (PKCS#8, PBES2, SM4-GCM) under the secret in a file.

    生成密钥对，以口令文件加密保存。
    """
    selftest.run()
    sealing = keyfile.read_secret_file(secret) if secret.exists() else keyfile.new_secret_file(secret)
    key = PrivateKey.generate()
    keyfile.write_key_file(out, key, sealing)
    click.echo(f"key 密钥 {out}, secret 口令 {secret}")
    click.echo(f"public key SM3 公钥摘要 {sm3.hexdigest(key.public_key.spki)}")


@command.command("open-envelope")
@click.option("--envelope", type=click.Path(path_type=Path), required=True, help="SM2EnvelopedKey, PEM or DER.")
@click.option("--key", type=click.Path(path_type=Path), required=True, help="Sealed signing key that it is for.")
@click.option("--secret", type=click.Path(path_type=Path), required=True, help="File of its secret.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="New file for the sealed encryption key.")
def open_envelope(envelope: Path, key: Path, secret: Path, out: Path) -> None:
    """Open an enveloped encryption key into a sealed file under the same secret.

    打开加密密钥数字信封，以同一口令文件加密保存。
    """
    selftest.run()
    opened = enveloped.unseal(_envelope_of(envelope), keyfile.read_key_file(key, secret))
    keyfile.write_key_file(out, opened, keyfile.read_secret_file(secret))
    click.echo(f"encryption key 加密密钥 {out}")
    click.echo(f"public key SM3 公钥摘要 {sm3.hexdigest(opened.public_key.spki)}")


def _envelope_of(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            source = stream.read(_ENVELOPE_FILE_LIMIT_BYTES)
    except OSError as exc:
        raise ZoneGateError(Reason.E_CONFIG, f"{path.name}: cannot be read: {exc.strerror}") from exc
    if not source.startswith(b"-----BEGIN "):
        return source
    try:
        (envelope,) = pem.decode(ENVELOPE_LABEL, source)
    except ValueError as exc:
        raise ZoneGateError(Reason.E_DER, f"{path.name}: is not one block of {ENVELOPE_LABEL}") from exc
    return envelope
