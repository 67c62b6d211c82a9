"""[d] Compiles zones and systems: whose they are, of which net, what they may hold (MA-04). Pure."""

from collections.abc import Mapping

from zonegate.identity import Net, parse_identity
from zonegate.policies.documents import Located, SystemDocument, ZoneDocument
from zonegate.policies.findings import Findings
from zonegate.policies.labels import Level
from zonegate.policies.model import Importer, System, Zone
from zonegate.policies.zones import ZoneClass, ceiling
from zonegate.reasons import Reason


def compile_zone(findings: Findings, document: ZoneDocument, located: Located, net: Net) -> Zone | None:
    """Return the zone, or None where its ceiling cannot be known."""
    _check_foreign(findings, document, located, net)
    if document.organ is not None:
        findings.refer(located, "Organ", document.organ, "organ")
    elif document.zone_class is not ZoneClass.INTERNET:
        findings.add(located, "is missing: a zone is owned by an organ", "organ")
    zone_net = document.zone_class.net or net
    for index, uri in enumerate(document.gateways):
        if parse_identity(uri).net is not zone_net:
            findings.add(located, f"a gateway of this zone is an identity of the net {zone_net}", "gateways", index)
    level = _ceiling(findings, document, located)
    if level is None:
        return None
    return Zone(
        name=document.name,
        zone_class=document.zone_class,
        organ=document.organ or "",
        grade=document.mlps_grade,
        ceiling=level,
        gateways=document.gateways,
        foreign=document.foreign,
        approved=document.approved,
        importer=_importer(findings, document, located),
        title=document.title,
    )


def _check_foreign(findings: Findings, document: ZoneDocument, located: Located, net: Net) -> None:
    foreign = document.zone_class.net not in {None, net}
    if foreign is not document.foreign:
        findings.add(
            located,
            f"a zone of class {document.zone_class} in the policy of the net {net} is written foreign: "
            f"{'true' if foreign else 'false'}",
            "foreign",
            reason=Reason.E_LABEL_KIND,
        )


def _ceiling(findings: Findings, document: ZoneDocument, located: Located) -> Level | None:
    """MA-04: a zone carries a 等保 grade or a 分保 level, as its class says, never both."""
    needed, found = document.zone_class.classified_level, document.classified_level
    if needed != found:
        message = (
            f"a zone of class {document.zone_class} has 分保 level {'none' if needed is None else needed.text}, "
            f"found {'none' if found is None else found.text} (MA-04)"
        )
        findings.add(located, message, "classifiedLevel", reason=Reason.E_LABEL_KIND)
    try:
        return ceiling(document.zone_class, document.mlps_grade)
    except ValueError as exc:
        findings.add(located, f"{exc} (MA-04)", "mlpsGrade", reason=Reason.E_LABEL_KIND)
        return None


def _importer(findings: Findings, document: ZoneDocument, located: Located) -> Importer | None:
    part = document.importer
    if part is None:
        return None
    if document.zone_class.classified_level is None:
        findings.add(located, "only a zone of the intranet has an importer", "importer")
    elif not document.foreign:
        findings.add(located, "belongs to the stub in the other net's policy; list it under gateways here", "importer")
    elif parse_identity(part.uri).net is not Net.INTRA:
        findings.add(located, f"the importer is an identity of the net {Net.INTRA}", "importer", "uri")
    return Importer(part.uri, part.encryption_key)


def check_gateways_once(findings: Findings) -> None:
    """A gateway serves one zone, and no system poses as one: its identity stands once in the policy."""
    systems = {document.uri for document, _ in findings.documents(SystemDocument)}
    seen: dict[str, str] = {}
    for document, located in findings.documents(ZoneDocument):
        importer = () if document.importer is None else (document.importer.uri,)
        for uri in (*document.gateways, *importer):
            other = seen.setdefault(uri, document.name)
            if other != document.name:
                findings.add(located, f"{uri} is a gateway of zone {other} already", "gateways")
            if uri in systems:
                findings.add(located, f"{uri} is a System; a gateway has an identity of its own", "gateways")


def compile_system(
    findings: Findings, document: SystemDocument, located: Located, net: Net, zones: Mapping[str, Zone]
) -> System:
    """Return the system; its organ and net are those of its URI."""
    identity = parse_identity(document.uri)
    findings.refer(located, "Organ", identity.organ, "uri")
    findings.refer(located, "Zone", document.zone, "zone")
    foreign = identity.net is not net
    if foreign is not document.foreign:
        word = "true" if foreign else "false"
        message = f"a system of the net {identity.net} in the policy of the net {net} is written foreign: {word}"
        findings.add(located, message, "foreign")
    zone = zones.get(document.zone)
    if zone is not None and zone.zone_class.net not in {None, identity.net}:
        findings.add(located, f"zone {zone.name} is not of the net {identity.net}", "zone")
    if zone is not None and document.clearance > zone.ceiling:
        message = f"{document.clearance.text} is above the ceiling {zone.ceiling.text} of zone {zone.name}"
        findings.add(located, message, "clearance")
    return System(
        uri=document.uri,
        organ=identity.organ,
        zone=document.zone,
        clearance=document.clearance,
        categories=frozenset(document.categories),
        foreign=foreign,
        title=document.title,
    )
