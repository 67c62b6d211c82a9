"""`zonegate import verifier|run|check-config|public-key|receipt`."""

import tomllib
from pathlib import Path

import click

from zonegate.errors import Problem, ProblemsError
from zonegate.reasons import Reason

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_CONFIG = click.option("--config", "-c", required=True, type=_FILE, help="The process's TOML file. 配置文件")


@click.group("import")
def command() -> None:
    """Bring objects of the extranet into the intranet: verify, decide again, deliver once.

    单向导入：外网客体经验签、再次裁决后送达内网，只送一次。
    """


@command.command("verifier")
@_CONFIG
def verifier(config: Path) -> None:
    """Look through the carrier until SIGTERM; it holds foreign anchors and listens nowhere.

    运行验签进程：只读载体目录，持有外网信任锚，不监听任何地址。
    """
    from zonegate.gateway.boundary.verifier_process import run_verifier

    run_verifier(config)


@command.command("run")
@_CONFIG
def run(config: Path) -> None:
    """Take objects from the verifier and deliver them until SIGTERM; SIGHUP reloads certificate and policy.

    运行导入机：接收已验签客体并送达；SIGTERM 有序退出，SIGHUP 重新加载证书与策略。
    """
    from zonegate.gateway.boundary.importer_process import run_importer

    run_importer(config)


@command.command("check-config")
@_CONFIG
def check_config(config: Path) -> None:
    """Build a verifier or an importer from its file without running it.

    仅检查验签进程或导入机的配置，不运行。
    """
    if "verifier" in _tables(config):
        from zonegate.gateway.boundary import verifier_process

        checked = verifier_process.check_config(config)
        status = "judged by its lists" if checked.judges_status else "not judged: foreign_trust.crls is empty"
        click.echo(f"verifier of objects of the {checked.anchors.net.value} net; revocation is {status}")
        return
    from zonegate.gateway.boundary import importer_process

    importer = importer_process.check_config(config)
    zone = importer.zone
    click.echo(
        f"{importer.trust.uri} imports into {zone.name} ({zone.zone_class.value}), policy {importer.policy.version}"
    )
    for finding in importer.demands:
        row, outcome = finding.demand, finding.outcome
        click.echo(
            f"{outcome.value:11} {outcome.zh}\tGB/T 22239-2019 {row.clause}: {row.control_zh} / {row.control_en}"
        )


@command.command("public-key")
@click.option("--key", required=True, type=_FILE, help="The importer's sealed decryption key. 导入机解密密钥")
@click.option("--secret", required=True, type=_FILE, help="The file of its secret. 口令文件")
def public_key(key: Path, secret: Path) -> None:
    """Print the public half as the sender's policy pins it (`importer.encryptionKey` of the zone's stub).

    显示公钥，供发送方策略登记。
    """
    from base64 import b64encode

    from zonegate.gateway.boundary.header import key_id
    from zonegate.gm import keyfile

    spki = keyfile.read_key_file(key, secret).public_key.spki
    click.echo(f"encryptionKey: {b64encode(spki).decode()}")
    click.echo(f"# SM3 {key_id(spki)}")


@command.command("receipt")
@click.argument("receipt", type=_FILE)
@click.option("--trust", required=True, type=_FILE, help="The root of the sender's net, PEM. 发送方网络根证书")
def receipt(receipt: Path, trust: Path) -> None:
    """Verify a receipt (a serialized zonegate.boundary.v1.Receipt) and print what it says.

    校验并显示发送回执。
    """
    from zonegate.clock import SystemClock
    from zonegate.gateway.boundary.convert import RECEIPT_LIMIT_BYTES, receipt_from_bytes
    from zonegate.gateway.boundary.receipt import verify_receipt
    from zonegate.gateway.boundary.verifier_process import foreign_anchors

    with receipt.open("rb") as stream:
        found = receipt_from_bytes(stream.read(RECEIPT_LIMIT_BYTES + 1))
    signer = verify_receipt(found, foreign_anchors(trust), now=SystemClock().now())
    click.echo(found.accepted.text.decode(), nl=False)
    click.echo(f"verified: signed by {signer.identity}, certificate {signer.serial:x}")


def _tables(config: Path) -> dict[str, object]:
    """Return the tables of a file, to tell whose it is; what is wrong in them is said by the process's own model."""
    try:
        with config.open("rb") as stream:
            return tomllib.loads(stream.read(1 << 20).decode())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as exc:
        raise ProblemsError(Reason.E_CONFIG, [Problem(config.name, None, "", f"is not TOML: {exc}")]) from exc
