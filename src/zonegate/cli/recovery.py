"""`zonegate ca recover-order` and `ca recover`: a lost encryption key, or one that a court asks for (CA-08).

The order's files go to `zonegate approval propose` and `approval sign`; what comes back from there goes to the key
centre with the CA's signed request. What is needed is decided there.
"""

from pathlib import Path

import click

from zonegate.ca.ceremony import open_ca
from zonegate.ca.kmc.link import open_link
from zonegate.ca.kmc.messages import Purpose
from zonegate.ca.kmc.recovery import KIND_OF, payload_of, target_of
from zonegate.ca.profile import RULES
from zonegate.cli.key import ENVELOPE_LABEL
from zonegate.clock import SystemClock
from zonegate.errors import ZoneGateError
from zonegate.gm import pem, selftest
from zonegate.identity import parse_identity
from zonegate.pki.certificate import Certificate, Profile
from zonegate.pki.credential import read_chain_file
from zonegate.reasons import Reason

FILE_LIMIT_BYTES = 1 << 20

_path = click.Path(path_type=Path)
_directory = click.argument("directory", type=_path)
_serial = click.argument("serial")
_purpose = click.option(
    "--purpose", type=click.Choice([item.value for item in Purpose]), required=True, help="user 用户 or judicial 司法."
)
_recipient = click.option("--recipient", type=_path, required=True, help="Signing certificate that the key goes to.")


def _serial_of(text: str) -> int:
    try:
        return int(text.replace(":", ""), 16)
    except ValueError as exc:
        msg = f"{text[:48]!r} is not a serial number in hexadecimal"
        raise click.BadParameter(msg) from exc


@click.command("recover-order")
@_directory
@_serial
@_purpose
@_recipient
@click.option("--payload", type=_path, required=True, help="New file: what the act is about.")
@click.option("--view", type=_path, required=True, help="New file: what the officers are shown.")
def order(directory: Path, serial: str, purpose: str, recipient: Path, payload: Path, view: Path) -> None:
    """Write what the persons have to sign before the key of SERIAL is recovered.

    生成密钥恢复的待签内容。
    """
    number, leaf = _serial_of(serial), read_chain_file(recipient)[0]
    clock = SystemClock()
    authority = open_ca(directory, clock=clock)
    try:
        row = authority.ledger.find(number).reservation
        link = authority.settings.kmc
    finally:
        authority.close()
    if not RULES[row.profile].encrypts or row.identity is None:
        raise ZoneGateError(Reason.E_NOT_ESCROWED, f"serial: is of profile {row.profile.value}, never escrowed")
    if link is None:
        raise ZoneGateError(Reason.E_CONFIG, "kmc: ca.toml names no key centre")
    ca = str(read_chain_file(link.chain)[0].identity)
    wanted = Purpose(purpose)
    _write_new(payload, payload_of(ca, number, wanted, leaf))
    _write_new(view, _view(number, wanted, row.identity, leaf).encode())
    click.echo(
        f"zonegate approval propose {KIND_OF[wanted].value} --payload {payload} --view {view}"
        f" --target {target_of(number)} --organ {parse_identity(row.identity).organ} --applicant OPERATOR --out FILE"
    )


def _view(serial: int, purpose: Purpose, holder: str, recipient: Certificate) -> str:
    words = {
        Purpose.USER: ("用户密钥恢复", "user key recovery"),
        Purpose.JUDICIAL: ("司法密钥恢复", "judicial recovery"),
    }
    zh, en = words[purpose]
    return (
        f"{zh} {en}\n"
        f"加密证书 encryption certificate: {serial:032x}\n"
        f"持有者 holder: {holder}\n"
        f"交付给 goes to: {recipient.identity}\n"
        f"其证书 SM3 of its certificate: {recipient.fingerprint}\n"
    )


@click.command("recover")
@_directory
@_serial
@_purpose
@_recipient
@click.option("--order", "order_file", type=_path, required=True, help="Proposal that was signed 待办单.")
@click.option(
    "--approval", "approvals", type=_path, multiple=True, required=True, help="One person's signature; several."
)
@click.option("--out", type=_path, required=True, help="New file for the enveloped key; see `key open-envelope`.")
def recover(
    directory: Path,
    serial: str,
    purpose: str,
    recipient: Path,
    order_file: Path,
    approvals: tuple[Path, ...],
    out: Path,
) -> None:
    """Ask the key centre for the key of SERIAL once more, enveloped for the recipient.

    向密钥管理中心恢复加密密钥。
    """
    selftest.run()
    # Before an act is spent: an envelope that cannot be written would be lost.
    if out.exists() or not out.parent.is_dir():
        raise ZoneGateError(Reason.E_CONFIG, f"{out.name}: exists already or has no folder to be written to")
    leaf = read_chain_file(recipient)[0]
    statements = [_read(path) for path in approvals]
    clock = SystemClock()
    authority = open_ca(directory, clock=clock)
    try:
        source = open_link(authority.settings, authority.certificate(Profile.ROOT), clock)
        given = source.restore(_serial_of(serial), Purpose(purpose), leaf, _read(order_file), statements)
    finally:
        authority.close()
    _write_new(out, pem.encode(ENVELOPE_LABEL, given.envelope))
    click.echo(f"recovered 已恢复 {serial}: {out}, for 交付 {leaf.identity}")


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            content = stream.read(FILE_LIMIT_BYTES + 1)
    except OSError as exc:
        raise ZoneGateError(Reason.E_CONFIG, f"{path.name}: cannot be read: {exc.strerror}") from exc
    if len(content) > FILE_LIMIT_BYTES:
        raise ZoneGateError(Reason.E_CONFIG, f"{path.name}: is larger than {FILE_LIMIT_BYTES} bytes")
    return content


def _write_new(path: Path, content: bytes) -> None:
    try:
        with path.open("xb") as stream:
            stream.write(content)
    except OSError as exc:
        raise ZoneGateError(Reason.E_CONFIG, f"{path.name}: cannot be written: {exc.strerror}") from exc
