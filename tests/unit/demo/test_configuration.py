"""Every TOML of the set-up is one that its process would read, and no two processes share an address."""

import re
from pathlib import Path

import pytest

from zonegate.clock import SystemClock
from zonegate.demo.configuration import configurations
from zonegate.demo.layout import Layout
from zonegate.demo.parties import CLAIM_PORT, SYSTEMS, gateway, system
from zonegate.demo.setup import Claim, make_setup
from zonegate.errors import ZoneGateError
from zonegate.gateway.boundary.config import ImporterConfig, VerifierConfig
from zonegate.gateway.config import ConnectorConfig, GatewayConfig
from zonegate.strictconf import StrictModel, load_toml

HOST = "127.9.8.7"


def model_of(process: str) -> type[StrictModel]:
    if process in {"importer", "verifier"}:
        return ImporterConfig if process == "importer" else VerifierConfig
    return GatewayConfig if process.startswith("gateway-") else ConnectorConfig


def test_every_file_is_read_and_every_path_is_inside(tmp_path: Path) -> None:
    texts = configurations(Layout(tmp_path), HOST, 1000)
    assert len(texts) == 14
    for process, text in texts.items():
        path = tmp_path / f"{process}.toml"
        path.write_text(text, encoding="utf-8")
        load_toml(path, model_of(process))
        for found in re.findall(r'"(?:unix:)?(/[^"]*)"', text):
            assert Path(found).is_relative_to(tmp_path)


def test_no_address_is_listened_on_twice() -> None:
    texts = configurations(Layout(Path("/nowhere")), HOST, 1000)
    listening = [address for text in texts.values() for address in re.findall(r'listen = "(.*?)"', text)]
    listening += [f"{HOST}:{party.service_port}" for party in SYSTEMS if party.script]
    listening.append(f"{HOST}:{CLAIM_PORT}")
    assert len(listening) == len(set(listening))
    assert gateway("police").port != system("population").provider_port


def test_a_claim_is_nobody_elses() -> None:
    one, other = Claim(), Claim()
    try:
        assert one.host != other.host
        assert one.host.startswith("127.")
    finally:
        one.release()
        other.release()


@pytest.mark.parametrize(("name", "why"), [("full", "is not empty"), ("x" * 90, "too long for a Unix socket")])
def test_a_folder_that_will_not_do(tmp_path: Path, name: str, why: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    if name == "full":
        (folder / "kept").write_text("mine", encoding="utf-8")
    with pytest.raises(ZoneGateError, match=why):
        make_setup(folder, HOST, SystemClock())
    assert [path.name for path in folder.iterdir()] == (["kept"] if name == "full" else [])
