"""Policy documents: the shipped sets compile; each rule has a document that breaks just it (B6, B9, XZ-02)."""

import base64
import json
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.descriptors import statistics_set
from support.policy import BEGIN, CIVIL, END, POPULATION, compile_sample, replaced, sample_policy, with_documents
from zonegate.errors import Problem, ProblemsError, ZoneGateError
from zonegate.identity import Net
from zonegate.policies.builtin import builtin_documents
from zonegate.policies.compile import compile_documents
from zonegate.policies.documents import DOCUMENTS_MAX, PROBLEMS_MAX, read_documents
from zonegate.policies.labels import Level
from zonegate.policies.model import Inspection, Rate, ShareType
from zonegate.policies.selftest import self_test
from zonegate.policies.yamltext import FILE_MAX_BYTES
from zonegate.reasons import Reason


def problems(files: dict[str, bytes]) -> tuple[Reason, list[str]]:
    with pytest.raises(ProblemsError) as caught:
        compile_sample(files)
    return caught.value.reason, [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize("net", Net)
def test_the_shipped_set_compiles_and_tests_itself(net: Net) -> None:
    compiled = compile_sample(builtin_documents(net))
    assert compiled.policy.net is net
    assert compiled.expectations
    self_test(compiled.policy, compiled.expectations)


def test_a_two_way_method_of_the_other_net_may_be_listed_and_is_told_the_object_path() -> None:
    documents = builtin_documents(Net.EXTRA)
    documents["extra.yaml"] = documents["extra.yaml"].replace(b"    oneWay: true\n", b"    response: L1\n")
    documents["extra.yaml"] = documents["extra.yaml"].replace(
        b"expect: import\nreason: OK", b"expect: deny\nreason: E_OBJECT_ONLY"
    )
    compiled = compile_sample(documents)
    self_test(compiled.policy, compiled.expectations)


def test_what_is_written_is_what_is_compiled() -> None:
    policy = sample_policy()
    assert (policy.version, policy.not_before, policy.not_after) == (1, BEGIN, END)
    inner, portal = policy.zones["inner"], policy.zones["portal"]
    assert (inner.foreign, inner.ceiling, inner.grade) == (True, Level.L4, None)
    assert inner.importer is not None
    assert inner.importer.uri == "spiffe://intra/111000009900000172/importer"
    assert (portal.foreign, portal.ceiling, portal.grade) == (False, Level.L1, 3)
    system = policy.systems[POPULATION]
    assert (system.organ, system.zone, system.clearance) == ("11100000990000025W", "police", Level.L2)
    assert system.categories == {"人口"}
    resource = policy.resources["population"]
    assert (resource.share_type, resource.inspection) == (ShareType.CONDITIONAL, Inspection.NONE)
    assert resource.metadata == {"x-request-note"}
    listing = resource.methods["/example.population.v1.Population/List"]
    assert (listing.server_streaming, listing.client_streaming, listing.one_way) == (True, False, False)
    submit = policy.resources["statistics"].methods["/example.statistics.v1.Statistics/Submit"]
    assert submit.one_way
    # the descriptor says the types; the document need not
    assert submit.request_type == "example.statistics.v1.Figure"
    assert submit.response_type == "google.protobuf.Empty"
    assert policy.flow_rules["civil-to-police"].resources == {"population", "case-clues"}
    assert policy.flow_rules["shared-to-portal"].max_level is Level.L0
    grant = policy.grants["relief-population"]
    assert (grant.organ, grant.system, grant.rate) == (CIVIL, None, Rate(200, 400))
    # days are China's, and the last day counts whole
    assert grant.not_before == datetime(2019, 12, 31, 16, tzinfo=UTC)
    assert grant.not_after == datetime(2049, 12, 31, 16, tzinfo=UTC)


# --- one document, by itself

ORGAN = "apiVersion: zonegate/v1\nkind: Organ\ncode: 91350100M000100Y43\ntitle: x\n"

ALONE = {
    "valid": (ORGAN, []),
    "unknown key": (ORGAN + "colour: red\n", ["more.yaml:5: colour: is not a known key"]),
    "snake case": (
        ORGAN.replace("apiVersion", "api_version"),
        ["more.yaml:1: apiVersion: must be zonegate/v1"],
    ),
    "other version": (ORGAN.replace("/v1", "/v2"), ["more.yaml:1: apiVersion: must be zonegate/v1"]),
    "missing key": (ORGAN.replace("title: x\n", ""), ["more.yaml:1: title: is missing"]),
    "unknown kind": (
        ORGAN.replace("Organ", "Organs"),
        [
            "more.yaml:2: kind: must be one of Net, Organ, Zone, System, Resource, FlowRule, Grant, Expectation",
        ],
    ),
    "kind a list": (
        ORGAN.replace("Organ", "[Organ]"),
        [
            "more.yaml:2: kind: must be one of Net, Organ, Zone, System, Resource, FlowRule, Grant, Expectation",
        ],
    ),
    "list for text": (
        ORGAN.replace("title: x", "title: [x]"),
        ["more.yaml:4: title: must be text, not a list or a mapping"],
    ),
    "a list": ("- a\n", ["more.yaml:1: a document is a mapping that begins with apiVersion and kind"]),
    "empty": ("---\n", ["more.yaml:1: the document is empty"]),
    "wrong check digit": (
        ORGAN.replace("Y43", "Y4Z"),
        [
            "more.yaml:3: code: '91350100M000100Y4Z' is not 18 characters of the GB 32100 alphabet with a 6-digit "
            "division code; found '91350100M000100Y4Z'"
        ],
    ),
    "title with a control character": (
        ORGAN.replace("title: x", 'title: "x\\u202e"'),
        ["more.yaml:4: title: must not hold control or formatting characters; found 'x\\u202e'"],
    ),
    "title of 101": (
        ORGAN.replace("title: x", "title: " + "字" * 101),
        ["more.yaml:4: title: must be 1 to 100 characters without blanks around"],
    ),
    "stands twice": (
        ORGAN + "---\n" + ORGAN,
        ["more.yaml:8: code: '91350100M000100Y43' stands twice, first in more.yaml:1"],
    ),
}


@pytest.mark.parametrize(("text", "wanted"), ALONE.values(), ids=ALONE)
def test_a_document_by_itself(text: str, wanted: list[str]) -> None:
    files = with_documents(text)
    if not wanted:
        assert compile_sample(files)
        return
    assert problems(files) == (Reason.E_DOCUMENT, wanted)


# --- the shipped extranet set with one place changed: (old, new, what the problem says)

CHANGES: dict[str, tuple[str, str, str]] = {
    # zones (MA-04)
    "MA-04 外网 zone without grade": (
        'class: ext.internet\norgan: "111000009900000172"\nmlpsGrade: 3',
        'class: ext.internet\norgan: "111000009900000172"',
        "mlpsGrade: a zone of class ext.internet",
    ),
    "MA-04 grade 6": (
        'class: ext.internet\norgan: "111000009900000172"\nmlpsGrade: 3',
        'class: ext.internet\norgan: "111000009900000172"\nmlpsGrade: 6',
        "needs a 等保 grade of 1 to 5, found 6",
    ),
    "MA-04 both scales": (
        'class: ext.internet\norgan: "111000009900000172"\nmlpsGrade: 3',
        'class: ext.internet\norgan: "111000009900000172"\nmlpsGrade: 3\nclassifiedLevel: L3',
        "has 分保 level none, found L3 秘密",
    ),
    "MA-04 内网 zone with another level": (
        "classifiedLevel: L4 机密",
        "classifiedLevel: L5 绝密",
        "has 分保 level L4 机密",
    ),
    "MA-04 内网 zone with a grade": (
        "classifiedLevel: L4 机密",
        "classifiedLevel: L4 机密\nmlpsGrade: 4",
        "has no 等保 grade, found 4",
    ),
    "foreign zone not said to be": ("foreign: true\nimporter:", "importer:", "is written foreign: true"),
    "zone of no organ": (
        "class: ext.dedicated\norgan: 11320000990100018D",
        "class: ext.dedicated",
        "organ: is missing: a zone is owned by an organ",
    ),
    "zone of an unknown organ": (
        "class: ext.dedicated\norgan: 11320000990100018D",
        "class: ext.dedicated\norgan: 91350100M000100Y43",
        "no Organ document is called '91350100M000100Y43'",
    ),
    "gateway of the other net": (
        "gateways: [spiffe://extra/111000009900000172/gateway-portal]",
        "gateways: [spiffe://intra/111000009900000172/gateway-portal]",
        "is an identity of the net extra",
    ),
    "gateway of two zones": ("gateway-portal]", "gateway-shared]", "is a gateway of zone portal already"),
    "a system that poses as gateway": (
        "gateways: [spiffe://extra/111000009900000172/gateway-portal]",
        "gateways: [spiffe://extra/111000009900000172/notices]",
        "is a System; a gateway has an identity of its own",
    ),
    "importer of the other net": (
        "uri: spiffe://intra/111000009900000172/importer",
        "uri: spiffe://extra/111000009900000172/importer",
        "the importer is an identity of the net intra",
    ),
    "importer of an extranet zone": (
        "gateways: [spiffe://extra/111000009900000172/gateway-portal]",
        "importer: {uri: spiffe://intra/111000009900000172/importer2, encryptionKey: MFkwEwYHKoZIzj0CAQYIKoEcz1UBgi0DQ"
        "gAE1/yNCdTFCv8LMg++VDDE6BL7p4OE6T6iLik8+nFdYakWvxYNrRCBujus7a56R5VegXJQZNZw3TGboBtHuq+D4g==}",
        "only a zone of the intranet has an importer",
    ),
    "importer's key not base64": ("encryptionKey: MFk", "encryptionKey: '*", ""),
    "importer's key not SM2": (
        "encryptionKey: MFkwEwYHKoZIzj0CAQYIKoEcz1UBgi0DQgAE1",
        "encryptionKey: MFkwEwYHKoZIzj0CAQYIKoEcz1UBgi0DQgAE2",
        "encryptionKey: is not an SM2 public key",
    ),
    "approved left out": ("approved: true\nforeign: true", "foreign: true", "approved: is missing"),
    # systems
    "system of no zone": ("zone: civil\n", "zone: nowhere\n", "no Zone document is called 'nowhere'"),
    "system in a zone of the other net": (
        "title: 内网统计汇集\nzone: inner",
        "title: 内网统计汇集\nzone: shared",
        "zone shared is not of the net intra",
    ),
    "foreign system not said to be": (
        "clearance: L4 机密\nforeign: true",
        "clearance: L4 机密",
        "is written foreign: true",
    ),
    "own system said to be foreign": (
        "title: 公告服务\nzone: portal\nclearance: L1 内部",
        "title: 公告服务\nzone: portal\nclearance: L1 内部\nforeign: true",
        "is written foreign: false",
    ),
    "clearance above the zone's ceiling": (
        "title: 公告服务\nzone: portal\nclearance: L1 内部",
        "title: 公告服务\nzone: portal\nclearance: L2 工作秘密",
        "L2 工作秘密 is above the ceiling L1 内部 of zone portal",
    ),
    "level with another level's word": (
        "title: 公告服务\nzone: portal\nclearance: L1 内部",
        "title: 公告服务\nzone: portal\nclearance: L1 秘密",
        "level: L1 is 内部, found '秘密'",
    ),
    "category twice": (
        "title: 社会救助系统\nzone: civil\nclearance: L2 工作秘密\ncategories: [人口]",
        "title: 社会救助系统\nzone: civil\nclearance: L2 工作秘密\ncategories: [人口, 人口]",
        "categories: an entry stands twice",
    ),
    "system of another organ than its code": (
        "uri: spiffe://extra/11320000990100018D/relief\ntitle",
        "uri: spiffe://extra/91350100M000100Y43/relief\ntitle",
        "no Organ document is called '91350100M000100Y43'",
    ),
    # resources
    "SH-01 resource code": ("code: 1010010001/000001", "code: 4010010001/000001", "code: must be 类 (1, 2 or 3)"),
    "SH-03 不予共享 without basis": (
        "legalBasis: 示例条例第八条：正在办理的案件线索不予共享\n",
        "",
        "legalBasis: is missing: 不予共享 needs its legal basis (SH-03)",
    ),
    "SH-05 工作秘密 shared in the extranet": (
        "share: none\nlegalBasis",
        "share: conditional\nlegalBasis",
        "L2 工作秘密 is not registrable for sharing in the extranet (SH-05",
    ),
    "response above the provider's zone": (
        "response: L2 工作秘密",
        "response: L3 秘密",
        "L3 秘密 is above the ceiling L2 工作秘密 of the provider's zone",
    ),
    "unknown provider": (
        "provider: spiffe://extra/111000009900000172/notices",
        "provider: spiffe://extra/111000009900000172/nobody",
        "no System document is called",
    ),
    "method twice": (
        "  - path: /example.population.v1.Population/List",
        "  - path: /example.population.v1.Population/Verify",
        "stands twice",
    ),
    "one-way method that streams": (
        "    oneWay: true\n",
        "    oneWay: true\n    clientStreaming: true\n",
        "the descriptor says false",
    ),
    "one-way method that answers": (
        "    response: L0 公开\n",
        "    response: L0 公开\n    oneWay: true\n",
        "the responseType of a one-way method is google.protobuf.Empty or zonegate.boundary.v1.Receipt",
    ),
    "one-way method without descriptor that streams": (
        "    response: L0 公开\n",
        "    oneWay: true\n    clientStreaming: true\n    responseType: google.protobuf.Empty\n",
        "a one-way method is unary",
    ),
    "reserved metadata": ("metadata: [x-request-note]", "metadata: [zg-caller-organ]", "not a reserved one"),
    "gRPC's own metadata": ("metadata: [x-request-note]", "metadata: [grpc-timeout]", "not a reserved one"),
    "upper-case metadata": ("metadata: [x-request-note]", "metadata: [X-Note]", "must be a lower-case metadata key"),
    "no methods": (
        "methods:\n  - path: /example.clue.v1.Clue/Get\n    request: L1 内部\n    response: L2 工作秘密\n",
        "methods: []\n",
        "methods: must have at least one entry",
    ),
    "schema without descriptor": ("descriptor: statistics.binpb\n", "", "inspection by schema needs it"),
    "descriptor that is not there": (
        "descriptor: statistics.binpb",
        "descriptor: other.binpb",
        "other.binpb is not there",
    ),
    "descriptor outside the folder": (
        "descriptor: statistics.binpb",
        "descriptor: ../statistics.binpb",
        "must be a path below the policy's folder",
    ),
    "method that is not in the descriptor": (
        "/example.statistics.v1.Statistics/Submit\n    request",
        "/example.statistics.v1.Statistics/Send\n    request",
        "is not in the descriptor",
    ),
    "type that the descriptor does not say": (
        "    oneWay: true\n",
        "    oneWay: true\n    requestType: example.Other\n",
        "requestType: the descriptor says example.statistics.v1.Figure",
    ),
    "message size 0": (
        "metadata: [x-request-note]",
        "maxMessageBytes: 0",
        "maxMessageBytes: Input should be greater than or equal to 1",
    ),
    # flow rules
    "rule from nowhere": ("from: civil", "from: nowhere", "no Zone document is called 'nowhere'"),
    "rule that skips a zone": (
        "from: civil\nto: police",
        "from: portal\nto: police",
        "no flow leads from ext.internet 外网·互联网区 to ext.dedicated 外网·专用网络区 at any level",
    ),
    "rule to where the resource is not": (
        "from: shared\nto: portal",
        "from: shared\nto: police",
        "resource notices is offered in zone portal",
    ),
    "rule for an unknown resource": (
        "resources: [population, case-clues]",
        "resources: [population, clues]",
        "no Resource document is called 'clues'",
    ),
    "rule for resources and a provider": (
        "resources: [population, case-clues]",
        f"resources: [population]\nprovider: {POPULATION}",
        "must name either resources or a provider",
    ),
    "rule for a provider of nothing": (
        f"provider: {POPULATION}\n---\napiVersion: zonegate/v1\nkind: FlowRule",
        f"provider: spiffe://extra/{CIVIL}/relief\n---\napiVersion: zonegate/v1\nkind: FlowRule",
        "this provider has no resource",
    ),
    "XZ-02 grade 4 needs the schema": (
        "title: 民政专用网络区\nclass: ext.dedicated\norgan: 11320000990100018D\nmlpsGrade: 3",
        "title: 民政专用网络区\nclass: ext.dedicated\norgan: 11320000990100018D\nmlpsGrade: 4",
        "zone civil has grade 4: resource population needs inspection: schema (XZ-02)",
    ),
    # grants
    "grant on 不予共享": (
        "system: spiffe://extra/1210000099030001XT/credit\nresource: population\nmethods: "
        "[/example.population.v1.Population/Verify]\npurposes: [信用核查]",
        "system: spiffe://extra/1210000099030001XT/credit\nresource: case-clues",
        "resource case-clues is 不予共享: only 有条件共享 is granted (SH-03)",
    ),
    "SH-06 purpose that the resource does not list": (
        "purposes: [社会救助审核]\nbasis",
        "purposes: [商业推广]\nbasis",
        "resource population does not list this purpose (SH-06)",
    ),
    "grant of a method that is not there": (
        "methods: [/example.population.v1.Population/Verify]",
        "methods: [/example.population.v1.Population/Delete]",
        "resource population has no such method",
    ),
    "grant to organ and system": (
        "organ: 11320000990100018D\nresource: population",
        f"organ: 11320000990100018D\nsystem: {POPULATION}\nresource: population",
        "must name either an organ or a system",
    ),
    "grant that ends before it begins": (
        "notBefore: 2020-01-01\nnotAfter: 2049-12-31\nrate: {perSecond: 200, burst: 400}",
        "notBefore: 2020-01-02\nnotAfter: 2020-01-01\nrate: {perSecond: 200, burst: 400}",
        "notAfter must be later than notBefore",
    ),
    "rate 0": ("rate: {perSecond: 50, burst: 100}", "rate: {perSecond: 0, burst: 100}", "rate.perSecond"),
    "rate without burst": ("rate: {perSecond: 50, burst: 100}", "rate: {perSecond: 50}", "rate.burst: is missing"),
    "grant for an unknown organ": (
        "organ: 11320000990100018D\nresource: population",
        "organ: 91350100M000100Y43\nresource: population",
        "no Organ document is called '91350100M000100Y43'",
    ),
    # net
    "no net": (
        "kind: Net\nname: extra\ntitle: 示例电子政务外网",
        "kind: Organ\ncode: 91350100M000100Y43\ntitle: x",
        "Net: a bundle has exactly one Net document, found none",
    ),
    "two nets": (
        "kind: Organ\ncode: 1210000099030001XT",
        "kind: Net\nname: intra\ntitle: y\n---\napiVersion: zonegate/v1\nkind: Organ\ncode: 1210000099030001XT",
        "a bundle has exactly one Net document",
    ),
    "expectation of an unknown reason": (
        "expect: import\nreason: OK",
        "expect: import\nreason: E_NOPE",
        "reason: must be one of OK",
    ),
}


@pytest.mark.req("MA-04", "SH-01", "SH-03", "SH-05", "XZ-02")
@pytest.mark.parametrize(("old", "new", "says"), CHANGES.values(), ids=CHANGES)
def test_one_change_breaks_one_rule(old: str, new: str, says: str) -> None:
    reason, found = problems(replaced(old, new))
    assert any(says in problem for problem in found), found
    assert all(problem.startswith(("extra.yaml:", "documents: ", "statistics.binpb: ")) for problem in found)
    only_kind = all("(MA-04)" in problem for problem in found) or says == "is written foreign: true"
    if len(found) == 1:
        assert reason is (Reason.E_LABEL_KIND if only_kind and "system" not in found[0] else Reason.E_DOCUMENT)


GRANTING = {
    "grade 4 with the schema is fine for no resource": (
        'title: 互联网区\nclass: ext.internet\norgan: "111000009900000172"\nmlpsGrade: 3',
        'title: 互联网区\nclass: ext.internet\norgan: "111000009900000172"\nmlpsGrade: 3',
    ),
    "SH-05 内部 may be shared": ("response: L2 工作秘密", "response: L1 内部"),
    "levels without their words": ("classifiedLevel: L4 机密", "classifiedLevel: L4"),
    "an internet zone has no owner": (
        "kind: Organ\ncode: 1210000099030001XT",
        "kind: Zone\nname: world\ntitle: 互联网\nclass: internet\napproved: true\n---\n"
        "apiVersion: zonegate/v1\nkind: Organ\ncode: 1210000099030001XT",
    ),
    "one-way with its receipt stated": (
        "    oneWay: true\n",
        "    oneWay: true\n    responseType: google.protobuf.Empty\n    serverStreaming: false\n",
    ),
    "instants with offset": ("rate: {perSecond: 50, burst: 100}", "rate: {perSecond: 0.5, burst: 1}"),
}


@pytest.mark.parametrize(("old", "new"), GRANTING.values(), ids=GRANTING)
def test_the_neighbour_that_is_allowed(old: str, new: str) -> None:
    assert compile_sample(replaced(old, new)).policy


@pytest.mark.req("XZ-02")
def test_in_the_intranet_every_message_is_decoded() -> None:
    files = replaced("inspection: schema\ndescriptor: statistics.binpb", "inspection: none", Net.INTRA)
    del files["statistics.binpb"]
    reason, found = problems(files)
    assert reason is Reason.E_DOCUMENT
    assert any("in the intranet every message is decoded" in problem for problem in found)


# --- descriptors


def test_another_descriptor_set() -> None:
    reason, found = problems({**builtin_documents(Net.EXTRA), "statistics.binpb": statistics_set()})
    assert reason is Reason.E_DOCUMENT
    assert len(found) == 1
    assert "/example.statistics.v1.Statistics/Submit is not in the descriptor" in found[0]


SHIPPED_DESCRIPTOR = builtin_documents(Net.EXTRA)["statistics.binpb"]


@given(st.binary(max_size=300) | st.integers(0, 400).map(lambda length: SHIPPED_DESCRIPTOR[:length]))
@settings(max_examples=150, deadline=None)
def test_any_descriptor_is_taken_or_a_problem(raw: bytes) -> None:
    found: tuple[Problem, ...] = ()
    try:
        compile_sample({**builtin_documents(Net.EXTRA), "statistics.binpb": raw})
    except ProblemsError as exc:
        found = exc.problems
    assert all("descriptor" in str(problem) for problem in found)


def test_a_file_that_nobody_names() -> None:
    files = {**builtin_documents(Net.EXTRA), "forgotten.binpb": b""}
    assert problems(files) == (
        Reason.E_DOCUMENT,
        ["forgotten.binpb: is no YAML document and no Resource names it"],
    )


# --- all at once, bounded


def test_all_problems_at_once_in_order_of_file_and_line() -> None:
    text = f"{ORGAN}x: 1\n---\napiVersion: zonegate/v1\nkind: Grant\nid: G\norgan: nobody\n"
    files = {**with_documents(text), "a.yaml": b"a: [\n", "z.yaml": b"\xff"}
    _, found = problems(files)
    places = [problem.split(": ")[0].split(":") for problem in found]
    assert places == sorted(places, key=lambda place: (place[0], int(place[1])))
    assert {problem.split(":")[0] for problem in found} == {"a.yaml", "more.yaml", "z.yaml"}
    assert len(found) >= 7


def test_a_broken_document_is_not_reported_again_where_it_is_named() -> None:
    files = replaced("title: 人口核验\nabstract", "titel: 人口核验\nabstract")
    _, found = problems(files)
    assert [problem.split(": ", 1)[1] for problem in found] == ["title: is missing", "titel: is not a known key"]


def test_many_problems_are_cut() -> None:
    text = "\n---\n".join(["a: 1"] * (PROBLEMS_MAX + 50))
    _, found = problems(with_documents(text))
    assert len(found) == PROBLEMS_MAX + 1
    assert "more problems" in found[-1]


def test_bounded() -> None:
    one = b"apiVersion: zonegate/v1\nkind: Organ\ncode: 91350100M000100Y43\ntitle: x\n---\n"
    per_file = FILE_MAX_BYTES // len(one)
    files = {f"{number}.yaml": one * per_file for number in range(DOCUMENTS_MAX // per_file + 1)}
    reading = read_documents(files)
    assert len(reading.documents) == DOCUMENTS_MAX
    assert f"more than {DOCUMENTS_MAX} documents" in str(reading.problems[-1])


# --- fuzz: a policy or E_DOCUMENT

EXTRA = builtin_documents(Net.EXTRA)
LINES = EXTRA["extra.yaml"].decode().splitlines(keepends=True)
SCRAPS = [
    "",
    "kind: Zone\n",
    "  - x\n",
    "foo: bar\n",
    "---\n",
    "class: int.l3\n",
    "name: [a]\n",
    "x: {y: z}\n",
    "\x00",
    "L9\n",
]


@given(st.lists(st.tuples(st.integers(0, len(LINES) - 1), st.sampled_from(SCRAPS)), min_size=1, max_size=4))
@settings(max_examples=100, deadline=None)
def test_damaged_documents_compile_or_are_refused(damage: list[tuple[int, str]]) -> None:
    lines = list(LINES)
    for at, scrap in damage:
        lines[at] = scrap
    reason = None
    try:
        compile_sample({**EXTRA, "extra.yaml": "".join(lines).encode()})
    except ZoneGateError as exc:
        reason = exc.reason
    assert reason in {None, Reason.E_DOCUMENT, Reason.E_LABEL_KIND}


KEYS = ["kind", "name", "id", "uri", "class", "methods", "from", "to", "share", "at", "rate", "mlpsGrade", "importer"]
yaml_values = st.recursive(
    st.sampled_from(["Zone", "Grant", "Resource", "x", "", "L1", "3", "true", "ext.shared", "/a.B/C", "2030-01-01"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=8,
)


@given(
    st.sampled_from(["Net", "Organ", "Zone", "System", "Resource", "FlowRule", "Grant", "Expectation"]),
    st.dictionaries(st.sampled_from(KEYS), yaml_values, max_size=8),
)
@settings(max_examples=150, deadline=None)
def test_any_content_of_a_document_is_read_or_a_problem(kind: str, fields: dict[str, object]) -> None:

    document = json.dumps({**fields, "apiVersion": "zonegate/v1", "kind": kind}).encode()
    reading = read_documents({"f.yaml": document})
    assert len(reading.documents) + bool(reading.problems) == 1


def test_the_pinned_key_is_a_public_key() -> None:
    """The shipped stub's key is nobody's: it parses, and its private half was never kept."""
    importer = sample_policy().zones["inner"].importer
    assert importer is not None
    assert base64.b64encode(importer.encryption_key).startswith(b"MFkwEwYHKoZIzj0CAQYIKoEcz1UBgi0D")


def test_validity_comes_from_the_bundle() -> None:
    compiled = compile_documents(EXTRA, version=9, not_before=BEGIN, not_after=END, digest="ab")
    assert (compiled.policy.version, compiled.policy.digest) == (9, "ab")
