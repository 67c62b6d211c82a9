"""What a grade demands of a gateway (standards.md C11): met, not met, and never met because nobody looked."""

from dataclasses import fields, replace

import pytest

from zonegate.errors import ZoneGateError
from zonegate.identity import Net
from zonegate.policies.demands import DEMANDS, Check, GatewayFacts, Outcome, demanded_grade, demands, refuse_unmet
from zonegate.policies.model import Zone
from zonegate.policies.zones import ZoneClass, ceiling
from zonegate.reasons import Reason

ALL_MET = GatewayFacts(**{field.name: True for field in fields(GatewayFacts)})


def zone(zone_class: ZoneClass, grade: int | None) -> Zone:
    return Zone("z", zone_class, "", grade, ceiling(zone_class, grade))


E_P = {grade: zone(ZoneClass.EXT_SHARED, grade) for grade in range(1, 6)}
I_3, I_4, I_5 = (zone(zone_class, None) for zone_class in list(ZoneClass)[4:])

GRADES = [(E_P[grade], grade) for grade in range(1, 6)] + [(I_3, 3), (I_4, 4), (I_5, 5)]


@pytest.mark.req("MA-06")
@pytest.mark.parametrize(("place", "grade"), GRADES)
def test_which_grade_a_zone_is_held_to(place: Zone, grade: int) -> None:
    assert demanded_grade(place) == grade


@pytest.mark.parametrize("place", [place for place, _ in GRADES])
def test_a_gateway_that_meets_everything_checked(place: Zone) -> None:
    findings = demands(place, ALL_MET)
    refuse_unmet(place, findings)
    assert all((finding.outcome is Outcome.NOT_CHECKED) is (finding.demand.check is None) for finding in findings)
    assert any(finding.outcome is Outcome.NOT_CHECKED for finding in findings)


# fact -> the lowest grade at which its absence refuses
REFUSES_FROM = {
    "national_tls_only": 2,
    "client_certificate_required": 3,
    "policy_signed": 1,
    "labels_decided": 3,
    "evidence_durable": 2,
    "revocation_lists": 3,
    "stale_status_refuses": 3,
}


def test_every_fact_is_demanded_somewhere() -> None:
    assert set(REFUSES_FROM) == {field.name for field in fields(GatewayFacts)}
    assert {demand.check for demand in DEMANDS} == {None, *Check}
    assert len({demand.id for demand in DEMANDS}) == len(DEMANDS)


@pytest.mark.parametrize("grade", range(1, 6))
@pytest.mark.parametrize(("fact", "lowest"), REFUSES_FROM.items(), ids=REFUSES_FROM)
def test_the_lowest_grade_that_refuses(fact: str, lowest: int, grade: int) -> None:
    findings = demands(E_P[grade], replace(ALL_MET, **{fact: False}))
    if grade < lowest:
        refuse_unmet(E_P[grade], findings)
        return
    with pytest.raises(ZoneGateError) as caught:
        refuse_unmet(E_P[grade], findings)
    assert caught.value.reason is Reason.E_GRADE_DEMAND
    assert "GB/T 22239-2019" in caught.value.detail
    assert f"(grade {grade})" in caught.value.detail


def test_higher_grades_demand_no_less() -> None:
    """Two rows of grade 3 are replaced at grade 4 by stricter ones; all others stay."""
    rows = {grade: {finding.demand.id for finding in demands(E_P[grade], ALL_MET)} for grade in E_P}
    assert rows[1] < rows[2] < rows[3]
    assert rows[3] - rows[4] == {"content", "labels"}
    assert {"conversion", "mandatory"} <= rows[4] - rows[3]
    assert rows[5] == rows[4]


def test_the_internet_demands_nothing() -> None:
    assert demands(zone(ZoneClass.INTERNET, None), ALL_MET) == ()
    assert ZoneClass.INTERNET.net is not Net.EXTRA
