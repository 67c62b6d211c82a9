"""Founding and opening a CA: files and modes, all or nothing, the strict `ca.toml`, the root away (CE-06, CA-14)."""

import shutil
from pathlib import Path

import pytest

from support.clock import FakeClock
from support.pki import ACTOR, CA_ORGAN_NAME, TestNet, founding_plan
from zonegate.ca.ceremony import CeremonyPlan, create_ca, open_ca, settings_text
from zonegate.ca.config import load_settings
from zonegate.ca.names import SubjectName
from zonegate.ca.subscriber import build_request
from zonegate.errors import ProblemsError, ZoneGateError
from zonegate.gm.sm2 import PrivateKey
from zonegate.identity import Net
from zonegate.pki.certificate import Profile
from zonegate.pki.crl import RevocationReason
from zonegate.reasons import Reason


def test_files_and_modes(own_net: TestNet) -> None:
    modes = {
        str(path.relative_to(own_net.ca_path)): path.stat().st_mode & 0o777
        for path in own_net.ca_path.rglob("*")
        if not path.name.endswith(("-wal", "-shm"))
    }
    assert modes["root"] == modes["sub"] == 0o700
    for secret in ("root/root.key", "root/root.secret", "sub/sub.key", "sub/sub.secret", "ledger.sqlite"):
        assert modes[secret] == 0o600
    assert {name for name in modes if name.startswith("public/")} == {
        "public/root.crt",
        "public/root.crl",
        "public/sub.crt",
        "public/sub.crl",
    }


def test_keys_are_sealed(own_net: TestNet) -> None:
    for name in ("root/root.key", "sub/sub.key"):
        assert (own_net.ca_path / name).read_bytes().startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")


def test_a_ca_is_made_once(own_net: TestNet) -> None:
    before = (own_net.ca_path / "public/root.crt").read_bytes()
    with pytest.raises(ZoneGateError) as refused:
        create_ca(own_net.ca_path, founding_plan(Net.EXTRA), clock=FakeClock(), actor=ACTOR)
    assert refused.value.reason is Reason.E_CONFIG
    assert (own_net.ca_path / "public/root.crt").read_bytes() == before


UNFOUNDED = {
    "CE-09 name too long": ({"organization": "名" * 65}, "subject.O"),
    "CE-09 invisible character": ({"organization": "测试\u200b"}, "subject.O"),
    "not http": ({"crl_base_url": "https://crl.example/"}, "crl_urls"),
    "no host": ({"crl_base_url": "http:///x"}, "crl_urls"),
    "a space in the address": ({"crl_base_url": "http://crl.example/a b"}, "crl_urls"),
    "OCSP not http": ({"ocsp_urls": ("ldap://a.example",)}, "ocsp_urls"),
    "lists for no time": ({"sub_crl_hours": 0}, "crl_hours"),
}


@pytest.mark.parametrize(("change", "field"), UNFOUNDED.values(), ids=UNFOUNDED)
def test_a_refused_founding_leaves_nothing(tmp_path: Path, change: dict[str, object], field: str) -> None:
    members = {"net": Net.EXTRA, "organization": CA_ORGAN_NAME, "crl_base_url": "http://crl.extra.example"}
    with pytest.raises(ZoneGateError, match=field) as refused:
        create_ca(tmp_path / "ca", CeremonyPlan(**(members | change)), clock=FakeClock(), actor=ACTOR)
    assert refused.value.reason is Reason.E_CONFIG
    assert list(tmp_path.iterdir()) == []


def test_no_folder_to_found_in(tmp_path: Path) -> None:
    with pytest.raises(ZoneGateError) as refused:
        create_ca(tmp_path / "none" / "ca", founding_plan(Net.EXTRA), clock=FakeClock(), actor=ACTOR)
    assert refused.value.reason is Reason.E_CONFIG


@pytest.mark.req("CA-12")
def test_issuing_works_while_the_root_is_away(own_net: TestNet, tmp_path: Path) -> None:
    own_net.close()
    shutil.move(own_net.ca_path / "root", tmp_path / "safe")
    authority = open_ca(own_net.ca_path, clock=own_net.clock, pause=own_net.clock.advance)
    request = build_request(PrivateKey.generate(), SubjectName("测试单位", "a"), own_net.identity("a"))
    certificate = authority.issue(request, Profile.SYSTEM, actor=ACTOR)
    authority.revoke(certificate.serial, RevocationReason.SUPERSEDED, actor=ACTOR)
    assert certificate.serial in authority.publish_crl(Profile.SUB_CA, actor=ACTOR).revoked
    with pytest.raises(ZoneGateError, match="bring the offline folder back") as refused:
        authority.publish_crl(Profile.ROOT, actor=ACTOR)
    assert refused.value.reason is Reason.E_KEY_SEALED
    assert authority.ledger.audit_rows()[-1].entry.reason == "E_KEY_SEALED"
    shutil.move(tmp_path / "safe", own_net.ca_path / "root")
    own_net.clock.advance(1)
    authority.publish_crl(Profile.ROOT, actor=ACTOR)
    authority.close()


def test_a_wrong_secret_opens_nothing(own_net: TestNet) -> None:
    secret = own_net.ca_path / "sub/sub.secret"
    secret.write_bytes(b"ab" * 32 + b"\n")
    authority = open_ca(own_net.ca_path, clock=own_net.clock)
    own_net.clock.advance(5)
    with pytest.raises(ZoneGateError) as refused:
        authority.publish_crl(Profile.SUB_CA, actor=ACTOR)
    assert refused.value.reason is Reason.E_KEY_SEALED
    authority.close()


def test_a_secret_that_others_may_read_is_refused(own_net: TestNet) -> None:
    (own_net.ca_path / "sub/sub.secret").chmod(0o644)
    authority = open_ca(own_net.ca_path, clock=own_net.clock)
    own_net.clock.advance(5)
    with pytest.raises(ZoneGateError) as refused:
        authority.publish_crl(Profile.SUB_CA, actor=ACTOR)
    assert refused.value.reason is Reason.E_KEY_SEALED
    authority.close()


GOOD = settings_text(founding_plan(Net.EXTRA))
BAD_SETTINGS = {
    "not TOML": ("= nonsense", [""]),
    "unknown key": (GOOD + "\ncolour = 1\n", ["limits.colour"]),
    "unknown net": (GOOD.replace('net = "extra"', 'net = "third"'), ["net"]),
    "no sub": (GOOD[: GOOD.index("[sub]")] + GOOD[GOOD.index("[limits]") :], ["sub"]),
    "limit above CE-08": (GOOD.replace("gateway = 731", "gateway = 732"), ["limits.gateway"]),
    "limit of none": (GOOD.replace("system = 1096", "system = 0"), ["limits.system"]),
    "text for a number": (GOOD.replace("crl_hours = 24", 'crl_hours = "24"'), ["sub.crl_hours"]),
    "no address": (
        GOOD.replace('crl_urls = ["http://crl.extra.example/sub.crl"]', "crl_urls = []"),
        ["sub.crl_urls"],
    ),
    "one key for both": (GOOD.replace("sub/sub.key", "root/root.key"), [""]),
    "two at once": (
        GOOD.replace("gateway = 731", "gateway = 732").replace("http://crl.extra.example/root", "ftp://x/root"),
        ["root.crl_urls.0", "limits.gateway"],
    ),
}


@pytest.mark.parametrize(("text", "fields"), BAD_SETTINGS.values(), ids=BAD_SETTINGS)
def test_settings_are_strict(tmp_path: Path, text: str, fields: list[str]) -> None:
    (tmp_path / "ca.toml").write_text(text)
    with pytest.raises(ProblemsError) as refused:
        load_settings(tmp_path)
    assert refused.value.reason is Reason.E_CONFIG
    assert [problem.field for problem in refused.value.problems] == fields


def test_settings_narrow_the_profile(own_net: TestNet) -> None:
    path = own_net.ca_path / "ca.toml"
    path.write_text(path.read_text().replace("gateway = 731", "gateway = 30"))
    authority = open_ca(own_net.ca_path, clock=own_net.clock)
    request = build_request(PrivateKey.generate(), SubjectName("测试单位", "a"), own_net.identity("a"))
    certificate = authority.issue(request, Profile.GATEWAY, actor=ACTOR)
    assert (certificate.not_after - certificate.not_before).days == 30
    authority.close()


def test_a_directory_of_the_other_net_is_not_opened(own_net: TestNet) -> None:
    path = own_net.ca_path / "ca.toml"
    path.write_text(path.read_text().replace('net = "extra"', 'net = "intra"'))
    with pytest.raises(ZoneGateError) as refused:
        open_ca(own_net.ca_path, clock=own_net.clock)
    assert refused.value.reason is Reason.E_LEDGER


def test_a_missing_public_certificate_is_named(own_net: TestNet) -> None:
    own_net.sub_path.unlink()
    with pytest.raises(ZoneGateError, match=r"public/sub\.crt"):
        own_net.write_crl()
