"""[d] The documents that officers write (architecture section 7), read strictly and all problems at once.

Here a document is checked by itself: known keys, types, ranges, with file and line. Whether documents fit together is
`compile`'s business. Pure: bytes in, documents and problems out; no file is opened.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from zonegate.errors import Problem
from zonegate.policies.fields import (
    NOT_EMPTY,
    Begin,
    Category,
    Code,
    DecisionField,
    EncryptionKey,
    End,
    FileName,
    Flag,
    IdentityUri,
    InspectionField,
    Integer,
    LabelField,
    LevelField,
    ListOf,
    MetadataKey,
    MethodPath,
    Name,
    NetField,
    Number,
    Purpose,
    ReasonField,
    ShareField,
    Text,
    Title,
    TypeName,
    Uscc,
    ZoneClassField,
    at_most,
)
from zonegate.policies.labels import CATEGORIES_MAX
from zonegate.policies.model import DEFAULT_MESSAGE_BYTES, Inspection
from zonegate.policies.yamltext import Path, TextDocument, read_text
from zonegate.strictconf import StrictModel, problems_of

API_VERSION = "zonegate/v1"
DOCUMENTS_MAX = 10_000
PROBLEMS_MAX = 200
MESSAGE_BYTES_MAX = 64 << 20
METADATA_MAX = 32
METHODS_MAX = 1000


class _Written(StrictModel):
    """Keys are written in camelCase."""

    model_config = ConfigDict(alias_generator=to_camel)


class _Document(_Written):
    """What every document begins with."""

    # The field by which other documents refer to this one.
    id_field: ClassVar[str]

    api_version: Literal["zonegate/v1"]


class NetDocument(_Document):
    """The net that this bundle is for: exactly one."""

    id_field = "name"
    kind: Literal["Net"]
    name: NetField
    title: Title


class OrganDocument(_Document):
    """A department."""

    id_field = "code"
    kind: Literal["Organ"]
    code: Uscc
    title: Title


class ImporterPart(_Written):
    """Who imports for a foreign zone, and the key that objects are sealed to."""

    uri: IdentityUri
    encryption_key: EncryptionKey


class ZoneDocument(_Document):
    """A zone of this net, or the stub of one of the other net."""

    id_field = "name"
    kind: Literal["Zone"]
    name: Name
    title: Title
    # `class` is a word of Python's
    zone_class: ZoneClassField = Field(alias="class")
    organ: Uscc | None = None
    mlps_grade: Integer | None = None
    classified_level: LevelField | None = None
    gateways: ListOf[IdentityUri] = ()
    approved: Flag
    foreign: Flag = False
    importer: ImporterPart | None = None


class SystemDocument(_Document):
    """A department's system and its clearance; its organ stands in the URI."""

    id_field = "uri"
    kind: Literal["System"]
    uri: IdentityUri
    title: Title
    zone: Name
    clearance: LevelField
    categories: Annotated[ListOf[Category], at_most(CATEGORIES_MAX)] = ()
    foreign: Flag = False


class MethodPart(_Written):
    """One method with its labels."""

    path: MethodPath
    request: LabelField | None = None
    response: LabelField | None = None
    one_way: Flag = False
    request_type: TypeName = ""
    response_type: TypeName = ""
    client_streaming: Flag | None = None
    server_streaming: Flag | None = None


class ResourceDocument(_Document):
    """An entry of the catalogue (C8.1): one service of one provider."""

    id_field = "id"
    kind: Literal["Resource"]
    id: Name
    title: Title
    abstract: Text = ""
    code: Code = ""
    provider: IdentityUri
    share: ShareField
    legal_basis: Text = ""
    purposes: ListOf[Purpose] = ()
    case_required: Flag = False
    metadata: Annotated[ListOf[MetadataKey], at_most(METADATA_MAX)] = ()
    inspection: InspectionField = Inspection.NONE
    descriptor: FileName | None = None
    max_message_bytes: Integer = Field(default=DEFAULT_MESSAGE_BYTES, ge=1, le=MESSAGE_BYTES_MAX)
    methods: Annotated[ListOf[MethodPart], NOT_EMPTY, at_most(METHODS_MAX)]


class FlowRuleDocument(_Document):
    """Calls of these resources may go from one zone to another, as far as the zone rule allows."""

    id_field = "id"
    kind: Literal["FlowRule"]
    id: Name
    source: Name = Field(alias="from")
    target: Name = Field(alias="to")
    resources: ListOf[Name] = ()
    provider: IdentityUri | None = None
    purposes: ListOf[Purpose] = ()
    max_level: LevelField | None = None

    @model_validator(mode="after")
    def _one_choice(self) -> "FlowRuleDocument":
        if bool(self.resources) == (self.provider is not None):
            msg = "must name either resources or a provider, whose resources are then all meant"
            raise ValueError(msg)
        return self


class RatePart(_Written):
    """A rate limit: calls a second, and calls at once."""

    per_second: Number = Field(gt=0, le=1_000_000)
    burst: Integer = Field(ge=1, le=1_000_000)


class GrantDocument(_Document):
    """An approved application for a conditionally shared resource."""

    id_field = "id"
    kind: Literal["Grant"]
    id: Name
    organ: Uscc | None = None
    system: IdentityUri | None = None
    resource: Name
    methods: ListOf[MethodPath] = ()
    purposes: ListOf[Purpose] = ()
    basis: Text = ""
    not_before: Begin
    not_after: End
    rate: RatePart | None = None

    @model_validator(mode="after")
    def _consistent(self) -> "GrantDocument":
        if (self.organ is None) == (self.system is None):
            msg = "must name either an organ or a system"
            raise ValueError(msg)
        if self.not_before >= self.not_after:
            msg = "notAfter must be later than notBefore"
            raise ValueError(msg)
        return self


class ExpectationDocument(_Document):
    """A call and the decision that this policy must give it; evaluated before the policy serves."""

    id_field = "id"
    kind: Literal["Expectation"]
    id: Name
    caller: IdentityUri
    path: MethodPath
    resource: Name | None = None
    purpose: Purpose | None = None
    case: Purpose | None = None
    label: LabelField | None = None
    at: Begin | None = None
    expect: DecisionField
    reason: ReasonField


AnyDocument = (
    NetDocument
    | OrganDocument
    | ZoneDocument
    | SystemDocument
    | ResourceDocument
    | FlowRuleDocument
    | GrantDocument
    | ExpectationDocument
)

KINDS: Mapping[str, type[AnyDocument]] = {
    "Net": NetDocument,
    "Organ": OrganDocument,
    "Zone": ZoneDocument,
    "System": SystemDocument,
    "Resource": ResourceDocument,
    "FlowRule": FlowRuleDocument,
    "Grant": GrantDocument,
    "Expectation": ExpectationDocument,
}


@dataclass(frozen=True, slots=True)
class Located:
    """A valid document and where it stands."""

    document: AnyDocument
    text: TextDocument

    @property
    def id(self) -> str:
        """The value by which other documents refer to it."""
        return str(getattr(self.document, self.document.id_field))

    def problem(self, message: str, *path: str | int) -> Problem:
        """Return a problem of this document with its line."""
        line = self.text.line_of(path)
        return Problem(self.text.file, line, ".".join(str(part) for part in path), message)


@dataclass(frozen=True, slots=True)
class Reading:
    """Everything read: valid documents, problems, and what the broken documents would have been called."""

    documents: tuple[Located, ...]
    problems: tuple[Problem, ...]
    broken: frozenset[tuple[str, str]]


def read_documents(files: Mapping[str, bytes]) -> Reading:
    """Read the YAML files of `files`; nothing is raised, so that `compile` can report its problems as well."""
    documents: list[Located] = []
    problems: list[Problem] = []
    broken: set[tuple[str, str]] = set()
    for name in sorted(files):
        texts, found = read_text(name, files[name])
        problems.extend(found)
        for text in texts:
            if len(documents) >= DOCUMENTS_MAX:
                problems.append(Problem(name, text.line, "", f"more than {DOCUMENTS_MAX} documents"))
                return Reading(tuple(documents), tuple(problems), frozenset(broken))
            result = _read_one(text)
            if isinstance(result, Located):
                documents.append(result)
            else:
                problems.extend(result)
                broken.update(_claimed_id(text))
    return Reading(tuple(documents), tuple(problems), frozenset(broken))


def _read_one(text: TextDocument) -> Located | list[Problem]:
    value: Any = text.value
    if value == "":
        return [Problem(text.file, text.line, "", "the document is empty")]
    if not isinstance(value, dict):
        return [Problem(text.file, text.line, "", "a document is a mapping that begins with apiVersion and kind")]
    if value.get("apiVersion") != API_VERSION:
        return [Problem(text.file, text.line_of(("apiVersion",)), "apiVersion", f"must be {API_VERSION}")]
    kind = value.get("kind")
    model = KINDS.get(kind) if isinstance(kind, str) else None
    if model is None:
        return [Problem(text.file, text.line_of(("kind",)), "kind", f"must be one of {', '.join(KINDS)}")]
    try:
        return Located(model.model_validate(value), text)
    except ValidationError as exc:
        found = zip(problems_of(exc, text.file), (item["loc"] for item in exc.errors()), strict=True)
        return [Problem(text.file, text.line_of(_path(loc)), problem.field, problem.message) for problem, loc in found]


def _path(loc: tuple[int | str, ...]) -> Path:
    return tuple(loc)


def _claimed_id(text: TextDocument) -> set[tuple[str, str]]:
    """What a broken document is called, so that references to it are not reported as dangling too."""
    value = text.value
    if not isinstance(value, dict):
        return set()
    kind = value.get("kind")
    model = KINDS.get(kind) if isinstance(kind, str) else None
    name = None if model is None else value.get(model.id_field)
    return {(str(kind), name)} if isinstance(name, str) else set()
