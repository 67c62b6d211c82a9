"""[d] The TOML of every process of the set-up. Pure: paths and an address in, text out."""

import json
from collections.abc import Iterable

from zonegate.demo.layout import KeyFiles, Layout
from zonegate.demo.parties import (
    GATEWAYS,
    IMPORTER,
    IMPORTER_MANAGEMENT_PORT,
    SYSTEMS,
    GatewayParty,
    SystemParty,
    gateway,
    system,
)
from zonegate.identity import Identity, Net

# Lists are looked at this often; the bound of RV-02 is two seconds.
POLL_SECONDS = 0.5


def configurations(layout: Layout, host: str, uid: int) -> dict[str, str]:
    """Return the text of each process's file, by the process's name."""
    texts = {party.name: _gateway(layout, party, host) for party in GATEWAYS}
    texts |= {party.connector: _connector(layout, party, host, uid) for party in SYSTEMS}
    texts["importer"] = _importer(layout, host, uid)
    texts["verifier"] = _verifier(layout)
    return texts


def _text(value: object) -> str:
    # A JSON string of ASCII is a TOML basic string.
    return json.dumps(str(value))


def _list(values: Iterable[object]) -> str:
    return f"[{', '.join(map(_text, values))}]"


def _key_pair(files: KeyFiles) -> str:
    return f"certificate = {_text(files.chain)}\nkey = {_text(files.key)}\nsecret = {_text(files.secret)}"


def _common(layout: Layout, identity: Identity, host: str, management_port: int) -> str:
    return f"""
[tls]
{_key_pair(layout.credential(identity.net, identity.name))}

[trust]
root = {_text(layout.anchor(identity.net))}

[status]
crls = {_list(layout.crls(identity.net))}
poll_seconds = {POLL_SECONDS}

[management]
listen = "{host}:{management_port}"
"""


def _recording(layout: Layout, identity: Identity, process: str, evidence: str) -> str:
    return f"""
[policy]
directory = {_text(layout.policy(identity.net))}
state = {_text(layout.state(process, "policy"))}

[evidence]
directory = {_text(layout.evidence(evidence))}
{_key_pair(layout.credential(identity.net, f"{identity.name}-evidence"))}
"""


def _providers(names: Iterable[str], host: str) -> str:
    return "".join(
        f'\n[providers."{system(name).identity}"]\naddresses = ["{host}:{system(name).provider_port}"]\n'
        for name in names
    )


def _gateway(layout: Layout, party: GatewayParty, host: str) -> str:
    hops = [f'\n[peers.{zone}]\naddresses = ["{host}:{gateway(zone).port}"]\n' for zone in party.peers]
    if party.exports:
        ledger = layout.state(party.name, "export")
        hops.append(f"\n[export]\ncarrier = {_text(layout.carrier)}\nledger = {_text(ledger)}\n")
    return f"""[gateway]
zone = "{party.zone}"
listen = "{host}:{party.port}"
{_common(layout, party.identity, host, party.management_port)}
{_recording(layout, party.identity, party.name, party.zone)}
{"".join(hops)}{_providers(party.providers, host)}"""


def _connector(layout: Layout, party: SystemParty, host: str, uid: int) -> str:
    text = _common(layout, party.identity, host, party.management_port)
    own = gateway(party.zone)
    if party.calls:
        text += f"""
[gateway]
addresses = ["{host}:{own.port}"]
identities = ["{own.identity}"]

[routes.default]
listen = "{host}:{party.route_port}"
uids = [{uid}]
"""
    if party.script:
        callers = [own.identity, *([IMPORTER] if party.net is IMPORTER.net else [])]
        text += f"""
[provider]
listen = "{host}:{party.provider_port}"
gateways = {_list(callers)}

[[provider.targets]]
services = {_list(party.services)}
address = "{host}:{party.service_port}"
"""
    return text


def _importer(layout: Layout, host: str, uid: int) -> str:
    inner = gateway("inner")
    return f"""[importer]
zone = "{inner.zone}"
listen = {_text(f"unix:{layout.importer_socket}")}
verifier_uids = [{uid}]
ledger = {_text(layout.state("importer", "ledger"))}
{_common(layout, IMPORTER, host, IMPORTER_MANAGEMENT_PORT)}
{_recording(layout, IMPORTER, "importer", "importer")}
{_providers(inner.providers, host)}"""


def _verifier(layout: Layout) -> str:
    return f"""[verifier]
carrier = {_text(layout.carrier)}
importer = {_text(f"unix:{layout.importer_socket}")}
state = {_text(layout.state("verifier", "seen"))}

[decryption]
key = {_text(layout.decryption.key)}
secret = {_text(layout.decryption.secret)}

[foreign_trust]
root = {_text(layout.anchor(Net.EXTRA))}
crls = {_list(layout.crls(Net.EXTRA))}
"""
