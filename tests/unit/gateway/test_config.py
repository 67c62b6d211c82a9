"""The TOML of gateways and connectors: every wrong key, type and range is named, all at once; the page says so."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from zonegate.errors import ProblemsError
from zonegate.gateway.config import ConnectorConfig, GatewayConfig, LimitsSection
from zonegate.reasons import Reason
from zonegate.strictconf import StrictModel, load_toml

DOCS = Path(__file__).resolve().parents[3] / "docs" / "configuration.md"

PAIR = 'certificate = "c.pem"\nkey = "k.pem"\nsecret = "s"\n'
COMMON = f"""
[tls]
{PAIR}
[trust]
root = "root.pem"
[status]
crls = ["root.crl", "http://crl.example/sub.crl"]
[management]
listen = "127.0.0.1:9100"
"""
GATEWAY = f"""
[gateway]
zone = "shared"
listen = "[::1]:8443"
{COMMON}
[policy]
directory = "policy"
state = "policy.state"
[evidence]
directory = "evidence"
{PAIR}
[peers.police]
addresses = ["192.0.2.1:8443"]
[providers."spiffe://extra/11100000990000025W/population"]
addresses = ["unix:/run/population"]
[export]
carrier = "out"
ledger = "export.db"
[limits]
connections = 10
"""
CONNECTOR = f"""
{COMMON}
[gateway]
addresses = ["192.0.2.1:8443"]
identities = ["spiffe://extra/111000009900000172/gateway-shared"]
[routes.default]
listen = "unix:/run/route"
uids = [1000]
purpose = "社会救助审核"
label = "L1;cat=人口"
[provider]
listen = "192.0.2.2:8443"
gateways = ["spiffe://extra/11100000990000025W/gateway-police"]
[[provider.targets]]
services = ["a.B"]
address = "127.0.0.1:5000"
"""


def load(text: str, model: type[StrictModel], folder: Path) -> Any:
    path = folder / "process.toml"
    path.write_text(text, encoding="utf-8")
    return load_toml(path, model)


def problems(text: str, model: type[StrictModel], folder: Path) -> dict[str, str]:
    with pytest.raises(ProblemsError) as caught:
        load(text, model, folder)
    assert caught.value.reason is Reason.E_CONFIG
    return {problem.field: problem.message for problem in caught.value.problems}


def test_a_good_file_and_its_defaults(tmp_path: Path) -> None:
    gateway = load(GATEWAY, GatewayConfig, tmp_path)
    assert gateway.limits == LimitsSection(connections=10)
    assert gateway.status.poll_seconds == 1.0
    assert gateway.policy.directory == tmp_path / "policy", "paths are resolved against the file's folder"
    connector = load(CONNECTOR, ConnectorConfig, tmp_path)
    assert connector.routes["default"].label == "L1;cat=人口"
    assert not connector.tls.hybrid


WRONG: dict[str, tuple[type[StrictModel], str, str, str, str]] = {
    "an unknown section": (GatewayConfig, "[limits]", "[limitz]", "limitz", "is not a known key"),
    "an unknown key": (GatewayConfig, "connections = 10", "conections = 10", "limits.conections", "not a known key"),
    "a missing key": (GatewayConfig, 'zone = "shared"\n', "", "gateway.zone", "is missing"),
    "a number as text": (GatewayConfig, "connections = 10", 'connections = "10"', "limits.connections", "integer"),
    "a number that is a word": (GatewayConfig, "connections = 10", "connections = true", "limits.connections", "int"),
    "below its range": (GatewayConfig, "connections = 10", "connections = 0", "limits.connections", "found 0"),
    "above its range": (GatewayConfig, "connections = 10", "connections = 100001", "limits.connections", "100000"),
    "not a number": (GatewayConfig, "connections = 10", "drain_seconds = nan", "limits.drain_seconds", "nan"),
    "without end": (GatewayConfig, "connections = 10", "drain_seconds = inf", "limits.drain_seconds", "86400"),
    "no list": (GatewayConfig, 'crls = ["root.crl", "http://crl.example/sub.crl"]', "crls = []", "status.crls", "1"),
    "a poll too rare (RV-04)": (
        GatewayConfig,
        "[management]",
        "poll_seconds = 2.1\n[management]",
        "status.poll_seconds",
        "less than or equal to 2",
    ),
    "an address without a port": (GatewayConfig, '"[::1]:8443"', '"localhost"', "gateway.listen", "host:port"),
    "a port out of range": (GatewayConfig, '"[::1]:8443"', '"localhost:70000"', "gateway.listen", "65535"),
    "a provider that is no identity": (
        GatewayConfig,
        "spiffe://extra/11100000990000025W/population",
        "population",
        "providers.population",
        "",
    ),
    "a label that is none": (ConnectorConfig, '"L1;cat=人口"', '"secret"', "routes.default.label", "L0 to L5"),
    "a purpose that no metadata can carry": (
        ConnectorConfig,
        '"社会救助审核"',
        '"a\\nb"',
        "routes.default.purpose",
        "control",
    ),
    "nobody may connect": (ConnectorConfig, "uids = [1000]", "uids = []", "routes.default.uids", "1 item"),
    "a negative uid": (ConnectorConfig, "uids = [1000]", "uids = [-1]", "routes.default.uids.0", "0"),
    "a gateway that is no identity": (
        ConnectorConfig,
        '["spiffe://extra/11100000990000025W/gateway-police"]',
        '["gateway"]',
        "provider.gateways.0",
        "",
    ),
    "a target without services": (ConnectorConfig, 'services = ["a.B"]', "services = []", "targets.0.services", "1"),
}


@pytest.mark.parametrize(("model", "old", "new", "field", "said"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_named(
    tmp_path: Path, model: type[StrictModel], old: str, new: str, field: str, said: str
) -> None:
    text = GATEWAY if model is GatewayConfig else CONNECTOR
    assert old in text
    found = problems(text.replace(old, new), model, tmp_path)
    (named,) = [name for name in found if name.startswith(field) or name.endswith(field)]
    assert said in found[named]


def test_everything_that_is_wrong_is_reported_at_once(tmp_path: Path) -> None:
    text = GATEWAY.replace("connections = 10", "connections = 0\nopen_calls = 'many'\nmistaken = 1")
    text = text.replace('zone = "shared"\n', "")
    assert set(problems(text, GatewayConfig, tmp_path)) == {
        "gateway.zone",
        "limits.connections",
        "limits.open_calls",
        "limits.mistaken",
    }


@pytest.mark.parametrize("content", [b"\xff\xfe", b"[a\n", b"a = 1\na = 2", b"[" * 5000, b"x" * (1 << 20 | 1)])
def test_what_is_no_toml_is_one_problem(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "process.toml"
    path.write_bytes(content)
    with pytest.raises(ProblemsError) as caught:
        load_toml(path, GatewayConfig)
    assert len(caught.value.problems) == 1


def _keys(value: object, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    if not isinstance(value, dict):
        return [path]
    return [found for key, inner in value.items() for found in _keys(inner, (*path, key))]


KEYS = [key for text in (GATEWAY, CONNECTOR) for key in _keys(tomllib.loads(text))]
SCALARS = st.one_of(
    st.integers(-10, 2**40).map(str),
    st.sampled_from(["true", "nan", "-inf", "[]", "{}", "1979-05-27", '""', "'unix:'", "[1, 'a']", "0.5"]),
    st.text(st.characters(codec="utf-8"), max_size=12),
)


@given(st.lists(st.tuples(st.sampled_from(KEYS), SCALARS), max_size=6), st.text(max_size=30))
@settings(max_examples=200, deadline=None)
def test_any_text_is_a_configuration_or_problems(
    tmp_path_factory: pytest.TempPathFactory, entries: list[tuple[tuple[str, ...], str]], tail: str
) -> None:
    lines = [f"{'.'.join(repr(part) for part in key)} = {value}" for key, value in entries]
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_text("\n".join([*lines, tail]), encoding="utf-8", errors="surrogatepass")
    for model in (GatewayConfig, ConnectorConfig):
        try:
            load_toml(path, model)
        except ProblemsError as error:
            assert error.reason is Reason.E_CONFIG
            assert error.problems


# -- docs/configuration.md -------------------------------------------------------------------------------------------

ROW = re.compile(r"^\| `(?P<key>[^`]+)` \| (?P<default>[^|]*) \|", re.MULTILINE)


def described(heading: str) -> dict[str, str]:
    text = DOCS.read_text(encoding="utf-8")
    part = text.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    return {match["key"]: match["default"].strip().strip("`") for match in ROW.finditer(part)}


def _model_of(annotation: Any) -> tuple[str, type[BaseModel]] | None:
    """Return how a nested model is reached in TOML, and the model."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "", annotation
    for argument in getattr(annotation, "__args__", ()):
        inner = _model_of(argument)
        if inner is not None:
            origin = getattr(annotation, "__origin__", None)
            return (".NAME" if origin is dict else "[]" if origin is list else "") + inner[0], inner[1]
    return None


def defaults(model: type[BaseModel], path: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for name, info in model.model_fields.items():
        key = f"{path}.{name}" if path else name
        inner = _model_of(info.annotation)
        if inner is not None:
            found |= defaults(inner[1], key + inner[0])
        elif info.is_required():
            found[key] = "required"
        elif info.default is None:
            found[key] = "none"
        else:
            found[key] = (
                str(info.default).lower()
                if isinstance(info.default, bool)
                else f"{info.default:g}"
                if isinstance(info.default, float)
                else str(info.default)
            )
    return found


@pytest.mark.parametrize(("heading", "model"), [("Gateway", GatewayConfig), ("Connector", ConnectorConfig)])
def test_the_page_has_every_key_and_its_default(heading: str, model: type[BaseModel]) -> None:
    wanted = {key: value for key, value in defaults(model).items() if not key.startswith("limits.")}
    assert described(heading) == wanted


def test_the_page_has_every_limit_with_its_range() -> None:
    assert described("Limits") == {f"limits.{key}": value for key, value in defaults(LimitsSection).items()}
