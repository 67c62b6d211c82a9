"""[d] Who takes part in the demo: organs, zones, gateways, systems, and at which port of the set-up's address.

All organs are synthetic. What they may do is in `policy/*.yaml`, what they do in `acts.yaml`.
"""

from dataclasses import dataclass
from pathlib import Path

from zonegate.identity import Identity, Net

HUB = "111000009900000172"
POLICE = "11100000990000025W"
CIVIL = "11320000990100018D"
CREDIT = "1210000099030001XT"
SURVEY = "11430000990200019X"
ORGAN_NAMES = {
    HUB: "示例大数据管理局",
    POLICE: "示例公安局",
    CIVIL: "示例民政局",
    CREDIT: "示例信用信息中心",
    SURVEY: "示例调查队",
}
SYSTEMS_FOLDER = Path(__file__).parent / "systems"
CALLER_SCRIPT = SYSTEMS_FOLDER / "caller.py"
STRANGER_SCRIPT = SYSTEMS_FOLDER / "stranger.py"


@dataclass(frozen=True, slots=True)
class GatewayParty:
    """A zone gateway: the zones that it calls on, and the systems behind it that offer services."""

    zone: str
    net: Net
    organ: str
    number: int
    peers: tuple[str, ...] = ()
    providers: tuple[str, ...] = ()
    exports: bool = False

    @property
    def name(self) -> str:
        """The last part of its identity, and the name of its process."""
        return f"gateway-{self.zone}"

    @property
    def identity(self) -> Identity:
        """Its identity."""
        return Identity(self.net, self.organ, self.name)

    @property
    def port(self) -> int:
        """Where it listens."""
        return 4400 + self.number

    @property
    def management_port(self) -> int:
        """Where its metrics are."""
        return 4500 + self.number


@dataclass(frozen=True, slots=True)
class SystemParty:
    """A department system with its connector: it calls, or `script` offers `services`, or both."""

    name: str
    net: Net
    organ: str
    zone: str
    number: int
    calls: bool = False
    script: str = ""
    services: tuple[str, ...] = ()

    @property
    def identity(self) -> Identity:
        """Its identity."""
        return Identity(self.net, self.organ, self.name)

    @property
    def connector(self) -> str:
        """The name of its connector's process."""
        return f"connector-{self.name}"

    @property
    def management_port(self) -> int:
        """Where its connector's metrics are."""
        return 4520 + self.number

    @property
    def provider_port(self) -> int:
        """Where gateways reach its connector."""
        return 4600 + self.number

    @property
    def route_port(self) -> int:
        """Where the system finds its connector when it calls."""
        return 4700 + self.number

    @property
    def service_port(self) -> int:
        """Where its own server listens."""
        return 4800 + self.number


IMPORTER = Identity(Net.INTRA, HUB, "importer")
IMPORTER_MANAGEMENT_PORT = 4510
# Nobody listens there; whoever has bound it has the address.
CLAIM_PORT = 4399

GATEWAYS = (
    GatewayParty("portal", Net.EXTRA, HUB, 1, providers=("notices",)),
    GatewayParty("shared", Net.EXTRA, HUB, 2, peers=("portal", "police"), exports=True),
    GatewayParty("police", Net.EXTRA, POLICE, 3, providers=("population",)),
    GatewayParty("civil", Net.EXTRA, CIVIL, 4, peers=("police",)),
    GatewayParty("inner", Net.INTRA, HUB, 5, providers=("statistics",)),
)
SYSTEMS = (
    SystemParty(
        "notices",
        Net.EXTRA,
        HUB,
        "portal",
        1,
        calls=True,
        script="notice_service.py",
        services=("example.notice.v1.Notices",),
    ),
    SystemParty("credit", Net.EXTRA, CREDIT, "shared", 2, calls=True),
    SystemParty("survey", Net.EXTRA, SURVEY, "shared", 3, calls=True),
    SystemParty(
        "population",
        Net.EXTRA,
        POLICE,
        "police",
        4,
        script="population_service.py",
        services=("example.population.v1.Population", "example.population.v1.Clues"),
    ),
    SystemParty("relief", Net.EXTRA, CIVIL, "civil", 5, calls=True),
    SystemParty(
        "statistics",
        Net.INTRA,
        HUB,
        "inner",
        6,
        script="statistics_service.py",
        services=("example.statistics.v1.Statistics",),
    ),
    SystemParty("planning", Net.INTRA, HUB, "inner", 7, calls=True),
)
# Who keeps evidence, by the name of the folder.
EVIDENCE = {party.zone: party.identity for party in GATEWAYS} | {"importer": IMPORTER}


def gateway(zone: str) -> GatewayParty:
    """Return the gateway of `zone`; KeyError if there is none."""
    return {party.zone: party for party in GATEWAYS}[zone]


def system(name: str) -> SystemParty:
    """Return the system `name`; KeyError if there is none."""
    return {party.name: party for party in SYSTEMS}[name]
