"""What becomes of a call, decided once for all calls with the same stable metadata."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.clock import NOON
from support.crossing import GATEWAY_SHARED, PURPOSE
from support.policy import CREDIT_FRONT, NOTICE, POPULATION, SUBMIT, VERIFY, sample_policy
from zonegate.errors import ZoneGateError
from zonegate.gateway import metadata as names
from zonegate.gateway.http2.headers import HeaderBlock, Kind, StablePart, literal
from zonegate.gateway.plan import OTHER_METADATA_LIMIT_BYTES, Caller, HopRole, Plan, Route, make_plan
from zonegate.reasons import Area, Reason

POLICY = sample_policy()
CREDIT = Caller(
    uri=CREDIT_FRONT,
    fingerprint="ab" * 32,
    serial="1",
    valid_until=NOON + timedelta(days=30),
    chain=(),
    ticket=b"ticket",
    ticket_digest="cd" * 32,
    ticket_until=NOON + timedelta(minutes=5),
    peer_uri=CREDIT_FRONT,
)


def header_block(*pairs: tuple[str, str], path: str = VERIFY) -> HeaderBlock:
    base = (
        (":method", "POST"),
        (":scheme", "https"),
        (":path", path),
        (":authority", "x"),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
    )
    fields = [literal(name.encode(), value.encode()) for name, value in (*base, *pairs)]
    stable = tuple(field for field in fields if not field.volatile)
    return HeaderBlock(StablePart(stable, Kind.REQUEST), tuple(field for field in fields if field.volatile))


def plan_of(
    *pairs: tuple[str, str],
    path: str = VERIFY,
    purpose: str | None = PURPOSE,
    own_zone: str = "shared",
    ingress: bool = True,
    caller: Caller = CREDIT,
) -> Plan:
    said = () if purpose is None else (("zg-purpose", names.quoted(purpose).decode()),)
    return make_plan(
        POLICY, header_block(*said, *pairs, path=path), caller, own_zone=own_zone, ingress=ingress, now=NOON
    )


ROUTES: dict[str, tuple[dict[str, Any], HopRole, Route, str]] = {
    "to the gateway of another zone": ({}, HopRole.INGRESS, Route.PEER, "police"),
    "from a gateway to the provider": (
        {"own_zone": "police", "ingress": False},
        HopRole.EGRESS,
        Route.PROVIDER,
        POPULATION,
    ),
    "caller and provider behind one gateway": ({"own_zone": "police"}, HopRole.BOTH, Route.PROVIDER, POPULATION),
    "one way into the other net": (
        {"path": SUBMIT, "purpose": "统计报送"},
        HopRole.INGRESS,
        Route.EXPORT,
        "inner",
    ),
}


@pytest.mark.parametrize(("change", "role", "route", "target"), ROUTES.values(), ids=ROUTES)
def test_route(change: dict[str, Any], role: HopRole, route: Route, target: str) -> None:
    plan = plan_of(**change)
    assert (plan.reason, plan.role, plan.route, plan.target) == (Reason.OK, role, route, target)


REFUSED: dict[str, tuple[tuple[tuple[str, str], ...], dict[str, Any], Reason, Area]] = {
    "no purpose": ((), {"purpose": None}, Reason.E_PURPOSE, Area.SHARE),
    "another purpose": ((), {"purpose": PURPOSE + "x"}, Reason.E_PURPOSE, Area.SHARE),
    "another resource": ((("zg-resource", "notices"),), {}, Reason.E_NOT_CATALOGUED, Area.LABEL),
    "a label that is none": ((("zg-label", "L6"),), {}, Reason.E_LABEL, Area.ADMIT),
    "a lower label": ((("zg-label", "L0"),), {}, Reason.E_LABEL_LOWER, Area.LABEL),
    "above the ceiling of the portal": (
        (("zg-label", "L2"),),
        {"path": NOTICE, "purpose": None},
        Reason.E_CEILING,
        Area.ZONE,
    ),
    "a certificate that ends now": (
        (),
        {"caller": replace(CREDIT, valid_until=NOON)},
        Reason.E_CERT_EXPIRED,
        Area.HANDSHAKE,
    ),
    "an egress that does not guard the provider's zone": (
        (),
        {"own_zone": "civil", "ingress": False},
        Reason.E_ZONE_IDENTITY,
        Area.ADMIT,
    ),
    "another method": ((), {"path": VERIFY + "All"}, Reason.E_NOT_CATALOGUED, Area.LABEL),
}


@pytest.mark.parametrize(("pairs", "change", "reason", "step"), REFUSED.values(), ids=REFUSED)
def test_the_refusing_neighbour(
    pairs: tuple[tuple[str, str], ...], change: dict[str, Any], reason: Reason, step: Area
) -> None:
    plan = plan_of(*pairs, **change)
    assert plan.reason is reason
    assert plan.route is None or reason is Reason.E_METADATA
    assert not plan.head, "a refused plan has nothing to send"
    if step is not Area.LABEL:
        assert plan.step is step


def test_a_plan_ends_with_the_first_of_what_it_rests_on() -> None:
    plan = plan_of()
    assert plan.begin_until == (NOON + timedelta(minutes=5)).timestamp(), "no call begins by an expired ticket"
    assert plan.valid_until == (NOON + timedelta(days=30)).timestamp(), "one under way goes on with the certificate"


def sent(plan: Plan) -> bytes:
    return plan.head


def test_what_is_sent_on() -> None:
    plan = plan_of(
        ("x-request-note", "n"),
        ("x-other", "1"),
        ("user-agent", "grpc"),
        ("zg-case", "A%201"),
        ("zg-label", "L2;cat=%E4%BA%BA"),
    )
    # The category is one that the caller does not hold; without it the call may go.
    assert plan.reason is Reason.E_CATEGORY
    plan = plan_of(
        ("x-request-note", "n"), ("x-other", "1"), ("user-agent", "grpc"), ("zg-case", "A%201"), ("zg-label", "L2")
    )
    for wire in (
        literal(b":path", VERIFY.encode()).wire,
        literal(b"zg-purpose", names.quoted(PURPOSE)).wire,
        literal(b"zg-case", b"A%201").wire,
        literal(b"zg-label", b"L2").wire,
        literal(b"x-request-note", b"n").wire,
    ):
        assert wire in sent(plan)
    assert b"x-other" not in sent(plan)
    assert plan.stripped == 1, "x-other is not listed; user-agent is no metadata"


def test_the_caller_is_named_to_the_provider_only() -> None:
    assert literal(names.CALLER_SYSTEM, b"credit").wire not in sent(plan_of())
    at_provider = plan_of(own_zone="police", ingress=False, caller=replace(CREDIT, peer_uri=GATEWAY_SHARED))
    assert literal(names.CALLER_SYSTEM, b"credit").wire in sent(at_provider)
    assert literal(names.CALLER_ORGAN, b"1210000099030001XT").wire in sent(at_provider)


def test_a_connectors_declaration_stays_one() -> None:
    assert literal(names.DECLARED_BY, b"connector").wire in sent(plan_of(("zg-declared-by", "connector")))
    assert b"zg-declared-by" not in sent(plan_of(("zg-declared-by", "me")))


@pytest.mark.parametrize(("extra", "reason"), [(0, Reason.OK), (1, Reason.E_METADATA)])
def test_the_resources_metadata_is_bounded(extra: int, reason: Reason) -> None:
    value = "v" * (OTHER_METADATA_LIMIT_BYTES - len("x-request-note") + extra)
    plan = plan_of(("x-request-note", value))
    assert plan.reason is reason


TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1, max_size=40)


@given(TEXT)
def test_texts_come_through_percent_encoding(text: str) -> None:
    wire = names.quoted(text)
    assert all(0x20 < byte < 0x7F for byte in wire)
    assert names.read_text(b"zg-purpose", wire) == text


@given(st.binary(max_size=600))
def test_any_bytes_are_a_text_or_one_refusal(value: bytes) -> None:
    try:
        text = names.read_text(b"zg-purpose", value)
    except ZoneGateError as error:
        assert error.reason is Reason.E_METADATA
    else:
        assert text
        assert names.read_text(b"zg-purpose", names.quoted(text)[:0] or names.quoted(text[:10])) == text[:10]
