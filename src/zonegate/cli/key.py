"""`zonegate key new`: an SM2 key pair as a sealed file and the file of its secret. The key never leaves the two."""

from pathlib import Path

import click

from zonegate.gm import keyfile, selftest, sm3
from zonegate.gm.sm2 import PrivateKey


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
