"""[d] Compiles an entry of the catalogue: labels, share type, form of its methods (SH-01, SH-03, SH-05, XZ-02)."""

from collections.abc import Mapping
from dataclasses import dataclass

from zonegate.identity import Net
from zonegate.policies.descriptor import Shape, read_descriptor
from zonegate.policies.documents import Located, MethodPart, ResourceDocument
from zonegate.policies.findings import Findings
from zonegate.policies.labels import Level
from zonegate.policies.model import Inspection, Method, Resource, ShareType, System, Zone

# What an import answers: the sender's own gateway says "accepted for transport", never the provider (section 3).
RECEIPT_TYPES = frozenset({"google.protobuf.Empty", "zonegate.boundary.v1.Receipt"})


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a resource is checked against."""

    net: Net
    systems: Mapping[str, System]
    zones: Mapping[str, Zone]
    attachments: Mapping[str, bytes]


def compile_resource(
    findings: Findings, document: ResourceDocument, located: Located, around: Surroundings
) -> Resource:
    """Return the resource; every problem is noted."""
    findings.refer(located, "System", document.provider, "provider")
    _check_share(findings, document, located, around.net)
    provider = around.systems.get(document.provider)
    zone = None if provider is None else around.zones.get(provider.zone)
    shapes = _shapes(findings, document, located, around)
    methods: dict[str, Method] = {}
    for index, part in enumerate(document.methods):
        if part.path in methods:
            findings.add(located, f"{part.path} stands twice", "methods", index, "path")
        methods[part.path] = _method(findings, part, located, index, shapes)
        _check_labels(findings, part, located, index, zone)
    return Resource(
        id=document.id,
        provider=document.provider,
        methods=methods,
        share_type=document.share,
        legal_basis=document.legal_basis,
        purposes=frozenset(document.purposes),
        case_required=document.case_required,
        metadata=frozenset(document.metadata),
        inspection=document.inspection,
        descriptor_set=None if document.descriptor is None else around.attachments.get(document.descriptor),
        max_message_bytes=document.max_message_bytes,
        title=document.title,
        code=document.code,
    )


def _check_share(findings: Findings, document: ResourceDocument, located: Located, net: Net) -> None:
    if document.share is ShareType.NONE and not document.legal_basis:
        findings.add(located, f"is missing: {ShareType.NONE.zh} needs its legal basis (SH-03)", "legalBasis")
    if net is not Net.EXTRA or document.share is ShareType.NONE:
        return
    for index, part in enumerate(document.methods):
        for key, label in (("request", part.request), ("response", part.response)):
            if label is not None and label.level >= Level.L2:
                message = (
                    f"{label.level.text} is not registrable for sharing in the extranet (SH-05, Decree 809 art. 3): "
                    "share: none, or a level up to L1 内部"
                )
                findings.add(located, message, "methods", index, key)


def _check_labels(findings: Findings, part: MethodPart, located: Located, index: int, zone: Zone | None) -> None:
    # The request comes from the caller's zone, whichever that is; the response is held in the provider's.
    if zone is not None and part.response is not None and part.response.level > zone.ceiling:
        message = f"{part.response.level.text} is above the ceiling {zone.ceiling.text} of the provider's zone"
        findings.add(located, message, "methods", index, "response")


def _shapes(
    findings: Findings, document: ResourceDocument, located: Located, around: Surroundings
) -> Mapping[str, Shape] | None:
    """Return the forms in the resource's descriptor, None without one, nothing for one that cannot be read."""
    if document.inspection is Inspection.NONE and around.net is Net.INTRA:
        findings.add(located, "in the intranet every message is decoded: schema is needed (XZ-02)", "inspection")
    if document.descriptor is None:
        if document.inspection is Inspection.SCHEMA:
            findings.add(located, "is missing: inspection by schema needs it", "descriptor")
        return None
    raw = around.attachments.get(document.descriptor)
    if raw is None:
        findings.add(located, f"{document.descriptor} is not there", "descriptor")
        return {}
    try:
        return read_descriptor(raw)
    except ValueError as exc:
        findings.add(located, f"{document.descriptor} {exc}", "descriptor")
        return {}


def _method(
    findings: Findings, part: MethodPart, located: Located, index: int, shapes: Mapping[str, Shape] | None
) -> Method:
    written = Shape(part.request_type, part.response_type, bool(part.client_streaming), bool(part.server_streaming))
    shape = written if shapes is None else shapes.get(part.path)
    if shape is None:
        # An empty descriptor is one that could not be read, which has been said.
        if shapes:
            findings.add(located, f"{part.path} is not in the descriptor", "methods", index, "path")
        shape = written
    else:
        _check_shape(findings, part, located, index, shape)
    return Method(
        path=part.path,
        request_label=part.request,
        response_label=part.response,
        one_way=part.one_way,
        request_type=shape.request_type,
        response_type=shape.response_type,
        client_streaming=shape.client_streaming,
        server_streaming=shape.server_streaming,
    )


def _check_shape(findings: Findings, part: MethodPart, located: Located, index: int, shape: Shape) -> None:
    # Where a document repeats what the descriptor says, both must say the same.
    pairs = (
        ("requestType", part.request_type or None, shape.request_type),
        ("responseType", part.response_type or None, shape.response_type),
        ("clientStreaming", part.client_streaming, shape.client_streaming),
        ("serverStreaming", part.server_streaming, shape.server_streaming),
    )
    for key, said, found in pairs:
        if said is not None and said != found:
            word = str(found).lower() if isinstance(found, bool) else found
            findings.add(located, f"the descriptor says {word}", "methods", index, key)
    if part.one_way and (shape.client_streaming or shape.server_streaming):
        findings.add(located, "a one-way method is unary", "methods", index, "oneWay")
    if part.one_way and shape.response_type not in RECEIPT_TYPES:
        message = f"the responseType of a one-way method is {' or '.join(sorted(RECEIPT_TYPES))}"
        findings.add(located, message, "methods", index, "oneWay")
