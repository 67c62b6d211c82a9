"""`zonegate ca`: found a CA, issue, show, list, revoke, release, publish lists, lint, read the audit.

Every command calls one function of `zonegate.ca` and prints what came back. Secrets come from files that `ca.toml`
names, never from arguments.
"""

import json
import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import click

from zonegate.ca.audit import first_broken
from zonegate.ca.authority import Authority, Term
from zonegate.ca.ceremony import ROOT_CRL_HOURS, SUB_CRL_HOURS, CeremonyPlan, create_ca, open_ca
from zonegate.ca.kmc.link import open_link
from zonegate.ca.ledger import LedgerRow, serial_text
from zonegate.ca.lint.rule import Context
from zonegate.ca.lint.run import RULES, lint
from zonegate.ca.profile import LEAF_PROFILES
from zonegate.ca.profile import RULES as PROFILES
from zonegate.cli import recovery
from zonegate.clock import SystemClock
from zonegate.errors import ZoneGateError
from zonegate.gm import pem, selftest
from zonegate.identity import Net
from zonegate.pki.certificate import Certificate, Profile, load_certificate
from zonegate.pki.crl import RevocationReason
from zonegate.pki.csr_response import PEM_LABEL as RESPONSE_LABEL
from zonegate.pki.csr_response import build as build_response
from zonegate.reasons import Reason

FILE_LIMIT_BYTES = 1 << 20
SERIAL_MAX_DIGITS = 40

_directory = click.argument("directory", type=click.Path(path_type=Path))
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for a machine.")


def _parse_serial(_context: click.Context, _parameter: click.Parameter, value: str) -> int:
    digits = value.replace(":", "")
    if not 0 < len(digits) <= SERIAL_MAX_DIGITS or set(digits.lower()) - set("0123456789abcdef"):
        msg = f"{value[:48]!r} is not a serial number in hexadecimal"
        raise click.BadParameter(msg)
    return int(digits, 16)


_serial = click.argument("serial", callback=_parse_serial)


@click.group("ca")
def command() -> None:
    """Issue, list, revoke and check the certificates of one net.

    证书签发、查询、撤销与检查。
    """


@command.command()
@_directory
@click.option("--net", type=click.Choice([net.value for net in Net]), required=True, help="extra 外网 or intra 内网.")
@click.option("--organization", required=True, help="Name of the organ that runs the CA 机构名称.")
@click.option("--unit", help="Its department 部门.")
@click.option("--crl-url", required=True, help="http:// folder where root.crl and sub.crl will be fetched.")
@click.option("--ocsp-url", multiple=True, help="OCSP responder; leave out where there is none.")
@click.option("--crl-hours", default=SUB_CRL_HOURS, show_default=True, help="From one list of the sub-CA to the next.")
def init(
    directory: Path,
    net: str,
    organization: str,
    unit: str | None,
    crl_url: str,
    ocsp_url: tuple[str, ...],
    crl_hours: int,
) -> None:
    """Make root and sub-CA of a net in a new DIRECTORY.

    建立某网的根与子 CA。
    """
    selftest.run()
    plan = CeremonyPlan(Net(net), organization, crl_url, ocsp_url, unit, crl_hours)
    create_ca(directory, plan, clock=SystemClock(), actor=actor_name())
    with _opened(directory) as authority:
        for profile in (Profile.ROOT, Profile.SUB_CA):
            certificate = authority.certificate(profile)
            click.echo(f"{PROFILES[profile].zh} {profile.value}: {certificate.subject}")
            click.echo(f"  serial {serial_text(certificate.serial)}, until {_instant(certificate)}")
            click.echo(f"  SM3 {certificate.fingerprint}")
    click.echo(f"take {directory}/root away and lock it up; it is needed again within {ROOT_CRL_HOURS // 24} days")
    click.echo(f"请将 {directory}/root 离线保管；{ROOT_CRL_HOURS // 24} 天内须取回以更新根 CRL")


@command.command()
@_directory
@click.option("--profile", type=click.Choice([item.value for item in LEAF_PROFILES]), required=True)
@click.option("--csr", type=click.Path(path_type=Path), required=True, help="PKCS#10 request, PEM or DER.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="New file for certificate and sub-CA.")
@click.option("--days", type=click.IntRange(1, 1096), help="Validity; as long as the profile allows if left out.")
@click.option("--dual", is_flag=True, help="With an encryption certificate; --out gets the CSR response 双证书.")
@_json
def issue(
    directory: Path,
    profile: str,
    csr: Path,
    out: Path,
    days: int | None,
    dual: bool,  # noqa: FBT001 - click's flag
    as_json: bool,  # noqa: FBT001 - click's flag
) -> None:
    """Issue a certificate for a request.

    按请求签发证书。
    """
    selftest.run()
    _refuse_existing(out)
    request = _read(csr)
    clock = SystemClock()
    term = Term() if days is None else Term(not_after=clock.now() + timedelta(days=days))
    with _opened(directory) as authority:
        if dual:
            source = open_link(authority.settings, authority.certificate(Profile.ROOT), clock)
            answer = authority.issue_dual(request, Profile(profile), source, actor=actor_name(), term=term)
            issued = [item for item in (*answer.signing, *answer.encryption) if not item.is_ca]
            content = pem.encode(RESPONSE_LABEL, build_response(answer))
        else:
            issued = [authority.issue(request, Profile(profile), actor=actor_name(), term=term)]
            content = issued[0].pem + authority.certificate(Profile.SUB_CA).pem
    _write_new(out, content)
    if as_json:
        facts = [_certificate_facts(certificate) for certificate in issued]
        _print_json(facts if dual else facts[0])
        return
    for certificate in issued:
        click.echo(f"issued 已签发 {serial_text(certificate.serial)}")
        click.echo(f"  {certificate.identity} {certificate.subject}")
        click.echo(f"  until 至 {_instant(certificate)}, in {out}")


@command.command()
@_directory
@_serial
@click.option("--pem", "as_pem", is_flag=True, help="Print the certificate itself.")
@_json
def show(directory: Path, serial: int, as_pem: bool, as_json: bool) -> None:  # noqa: FBT001 - click's flags
    """Show one certificate of the ledger.

    查看一张证书。
    """
    with _opened(directory) as authority:
        row = authority.ledger.find(serial)
    if as_pem:
        if row.der is None:
            raise ZoneGateError(Reason.E_UNKNOWN_SERIAL, f"serial: {serial_text(serial)} was reserved, never issued")
        click.echo(pem.encode("CERTIFICATE", row.der).decode(), nl=False)
        return
    facts = _row_facts(row)
    if as_json:
        _print_json(facts)
        return
    for key, value in facts.items():
        click.echo(f"{key:12} {'' if value is None else value}")


@command.command("list")
@_directory
@click.option("--state", type=click.Choice(["reserved", "issued", "on hold", "revoked"]), help="Only these.")
@_json
def list_(directory: Path, state: str | None, as_json: bool) -> None:  # noqa: FBT001 - click's flag
    """List every certificate and every serial that was reserved and never signed.

    列出全部证书与序列号。
    """
    with _opened(directory) as authority:
        rows = [row for row in authority.ledger.rows() if state in (None, row.state)]
    if as_json:
        _print_json([_row_facts(row) for row in rows])
        return
    for row in rows:
        held = row.reservation
        who = held.identity or held.subject
        until = held.not_after.strftime("%Y-%m-%d")
        click.echo(f"{serial_text(held.serial)}  {row.state:8}  {held.profile.value:8}  {until}  {who}")


@command.command()
@_directory
@_serial
@click.option(
    "--reason",
    type=click.Choice([item.value for item in RevocationReason]),
    required=True,
    help="certificateHold can be released, nothing else can.",
)
def revoke(directory: Path, serial: int, reason: str) -> None:
    """Revoke or hold a certificate and publish the list that says so.

    撤销或冻结证书并发布 CRL。
    """
    selftest.run()
    with _opened(directory) as authority:
        issuer = authority.ledger.find(serial).reservation.issuer
        authority.revoke(serial, RevocationReason(reason), actor=actor_name())
        _publish(authority, issuer)
        if authority.settings.kmc is not None and RevocationReason(reason) is not RevocationReason.CERTIFICATE_HOLD:
            _tell_centre(authority)


@command.command()
@_directory
@_serial
def release(directory: Path, serial: int) -> None:
    """Release a certificate that is on hold and publish the list that says so.

    解冻证书并发布 CRL。
    """
    selftest.run()
    with _opened(directory) as authority:
        issuer = authority.ledger.find(serial).reservation.issuer
        authority.release(serial, actor=actor_name())
        _publish(authority, issuer)


@command.command()
@_directory
@click.option("--root", is_flag=True, help="The root's list; its offline folder must be there.")
@click.option("--delta", is_flag=True, help="Only what has changed since the full list 增量列表.")
def crl(directory: Path, root: bool, delta: bool) -> None:  # noqa: FBT001 - click's flags
    """Publish the next revocation list.

    发布撤销列表。
    """
    selftest.run()
    issuer = Profile.ROOT if root else Profile.SUB_CA
    with _opened(directory) as authority:
        if not delta:
            _publish(authority, issuer)
            return
        made = authority.publish_delta(issuer, actor=actor_name())
        lifted = len(made.removed)
        click.echo(f"delta 增量 CRL {made.number} (base {made.base}): {len(made.revoked)} revoked, {lifted} removed")


@command.command("lint")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--issuer", type=click.Path(path_type=Path), help="The issuer's certificate, for the rules about it.")
@_json
def lint_(files: tuple[Path, ...], issuer: Path | None, as_json: bool) -> int:  # noqa: FBT001 - click's flag
    """Hold certificate files against every rule; exit 1 if one is broken.

    按规则检查证书文件。
    """
    context = Context(None if issuer is None else load_certificate(_read(issuer)))
    found = [(path, number, item) for path in files for number, der in _blocks(path) for item in lint(der, context)]
    if as_json:
        rows = [
            {
                "file": str(path),
                "certificate": number,
                "rule": item.rule_id,
                "clause": item.clause,
                "problem": item.problem,
            }
            for path, number, item in found
        ]
        _print_json(rows)
    else:
        for path, number, item in found:
            click.echo(f"{path}[{number}] {item}")
        click.echo(f"{len(RULES)} rules, {len(found)} findings 发现 {len(found)} 项", err=True)
    return 1 if found else 0


@command.command()
@_directory
@_json
def audit(directory: Path, as_json: bool) -> None:  # noqa: FBT001 - click's flag
    """Print every act and refusal, after checking the chain of digests.

    查看审计记录并校验摘要链。
    """
    with _opened(directory) as authority:
        rows = authority.ledger.audit_rows()
    broken = first_broken(rows)
    if broken is not None:
        raise ZoneGateError(Reason.E_LEDGER, f"audit: row {broken} is changed, missing or out of order")
    if as_json:
        fields = ("at", "actor", "act", "target", "result", "reason", "detail")
        _print_json(
            [
                {"seq": row.seq, **{name: getattr(row.entry, name) for name in fields}, "digest": row.digest}
                for row in rows
            ]
        )
        return
    for row in rows:
        entry = row.entry
        click.echo(f"{row.seq:5} {entry.at} {entry.actor} {entry.act} {entry.target} {entry.result} {entry.reason}")
        click.echo(f"      {entry.detail}")
    click.echo(f"chain holds 摘要链完整; head 链头 {rows[-1].digest if rows else '-'}")


command.add_command(recovery.order)
command.add_command(recovery.recover)


# --- inside


@contextmanager
def _opened(directory: Path) -> Iterator[Authority]:
    authority = open_ca(directory, clock=SystemClock())
    try:
        yield authority
    finally:
        authority.close()


def _publish(authority: Authority, issuer: Profile) -> None:
    made = authority.publish_crl(issuer, actor=actor_name())
    name = authority.publication.crl_path(issuer).name
    until = made.next_update.strftime("%Y-%m-%dT%H:%M:%SZ")
    click.echo(f"public/{name}: number 编号 {made.number}, {len(made.revoked)} entries 条, good until 有效至 {until}")


def _tell_centre(authority: Authority) -> None:
    source = open_link(authority.settings, authority.certificate(Profile.ROOT), SystemClock())
    left = authority.settle_keys(source)
    if left:
        text = f"{left} keys could not be archived yet, the key centre does not answer 密钥中心未应答，稍后重试"
        click.echo(text, err=True)


def actor_name() -> str:
    """Return who runs this command, as the audit writes it."""
    uid = os.getuid()
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = "?"
    return f"{name} (uid {uid})"


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            content = stream.read(FILE_LIMIT_BYTES + 1)
    except OSError as exc:
        raise ZoneGateError(Reason.E_CONFIG, f"{path.name}: cannot be read: {exc.strerror}") from exc
    if len(content) > FILE_LIMIT_BYTES:
        raise ZoneGateError(Reason.E_CONFIG, f"{path.name}: is larger than {FILE_LIMIT_BYTES} bytes")
    return content


def _blocks(path: Path) -> list[tuple[int, bytes]]:
    content = _read(path)
    if b"-----BEGIN" not in content:
        return [(1, content)]
    try:
        blocks = pem.decode("CERTIFICATE", content)
    except ValueError as exc:
        raise ZoneGateError(Reason.E_DER, f"{path.name}: {exc}") from exc
    if not blocks:
        raise ZoneGateError(Reason.E_DER, f"{path.name}: holds no CERTIFICATE block")
    return list(enumerate(blocks, start=1))


def _refuse_existing(path: Path) -> None:
    # Before anything is signed: a certificate that cannot be handed out would use the key up.
    if path.exists() or not path.parent.is_dir():
        problem = "exists already and is never overwritten" if path.exists() else "has no folder to be written to"
        raise ZoneGateError(Reason.E_CONFIG, f"{path.name}: {problem}")


def _write_new(path: Path, content: bytes) -> None:
    try:
        with path.open("xb") as stream:
            stream.write(content)
    except OSError as exc:
        detail = f"{path.name}: cannot be written: {exc.strerror}; `zonegate ca show --pem` prints the certificate"
        raise ZoneGateError(Reason.E_CONFIG, detail) from exc


def _instant(certificate: Certificate) -> str:
    return certificate.not_after.strftime("%Y-%m-%dT%H:%M:%SZ")


def _certificate_facts(certificate: Certificate) -> dict[str, str | None]:
    return {
        "serial": serial_text(certificate.serial),
        "profile": None if certificate.profile is None else certificate.profile.value,
        "identity": None if certificate.identity is None else str(certificate.identity),
        "subject": certificate.subject,
        "not_before": certificate.not_before.isoformat(),
        "not_after": certificate.not_after.isoformat(),
        "sm3": certificate.fingerprint,
    }


def _row_facts(row: LedgerRow) -> dict[str, str | None]:
    held, revocation = row.reservation, row.revocation
    return {
        "serial": serial_text(held.serial),
        "state": row.state,
        "profile": held.profile.value,
        "issuer": held.issuer.value,
        "identity": held.identity,
        "subject": held.subject,
        "not_before": held.not_before.isoformat(),
        "not_after": held.not_after.isoformat(),
        "reserved_at": row.reserved_at.isoformat(),
        "issued_at": None if row.issued_at is None else row.issued_at.isoformat(),
        "revoked_at": None if revocation is None else revocation.at.isoformat(),
        "reason": None if revocation is None else revocation.reason.value,
        "key_sm3": held.key_digest,
    }


def _print_json(value: object) -> None:
    click.echo(json.dumps(value, ensure_ascii=False, indent=1))
