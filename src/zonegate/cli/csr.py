"""`zonegate csr new`: the PKCS#10 request of a sealed key, for the CA of a net."""

from pathlib import Path

import click

from zonegate.ca.names import SubjectName
from zonegate.ca.subscriber import build_request
from zonegate.errors import ZoneGateError
from zonegate.gm import keyfile, selftest
from zonegate.identity import parse_identity
from zonegate.reasons import Reason


@click.group("csr")
def command() -> None:
    """Make certificate requests.

    生成证书请求。
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
    try:
        with out.open("xb") as stream:
            stream.write(request)
    except OSError as exc:
        raise ZoneGateError(Reason.E_CONFIG, f"{out.name}: cannot be written: {exc.strerror}") from exc
    click.echo(f"request 请求 {out}: {wanted}, {subject}")
