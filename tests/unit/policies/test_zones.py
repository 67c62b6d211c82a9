"""The zone rule: 294 cells of D4 from the standard's own tables, an independent reference, the six invariants."""

import re
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.d4 import CODES, reference
from zonegate.identity import Net
from zonegate.policies.labels import Level
from zonegate.policies.selftest import TABLE
from zonegate.policies.zones import Decision, ZoneClass, ceiling, class_rule, path_between, zone_rule

BY_CODE = {zone_class.code: zone_class for zone_class in ZoneClass}


def read_d4() -> dict[tuple[str, str, int], str]:
    """The cells as standards.md prints them; the file is a copy of its section D4."""
    cells: dict[tuple[str, str, int], str] = {}
    level = -1
    for line in Path(__file__).with_name("d4_table.txt").read_text(encoding="utf-8").splitlines():
        if heading := re.match(r"\*\*Effective level ([0-5]) ", line):
            level = int(heading[1])
        elif row := re.match(r"\| \*\*(\S+)\*\* \| (.*) \|$", line):
            letters = row[2].split(" | ")
            cells.update({(row[1], target, level): letter for target, letter in zip(CODES, letters, strict=True)})
    return cells


D4 = read_d4()


def ceilings(grade: int) -> dict[str, Level]:
    return {zone.code: ceiling(zone, grade if zone.net is Net.EXTRA else None) for zone in ZoneClass}


def test_the_table_is_complete() -> None:
    assert len(D4) == 294 == 7 * 7 * 6


@pytest.mark.req("MA-03")
@pytest.mark.parametrize(("source", "target", "level"), sorted(D4), ids=lambda part: str(part))
def test_d4_cell(source: str, target: str, level: int) -> None:
    ceil = ceilings(3)
    found = class_rule(BY_CODE[source], ceil[source], BY_CODE[target], ceil[target], Level(level))
    assert found.letter == D4[source, target, level]


@pytest.mark.req("MA-03")
def test_the_known_answer_of_the_self_test_is_d4() -> None:
    rows = {(CODES[at], level): row for level, rows in enumerate(TABLE) for at, row in enumerate(rows.split())}
    assert {
        (source, CODES[at], level): letter for (source, level), row in rows.items() for at, letter in enumerate(row)
    } == D4


@pytest.mark.req("MA-03")
@pytest.mark.parametrize("grade", range(1, 6))
def test_every_grade_agrees_with_the_reference(grade: int) -> None:
    ceil = ceilings(grade)
    numbers = {code: int(level) for code, level in ceil.items()}
    for source in CODES:
        for target in CODES:
            for level in Level:
                found = class_rule(BY_CODE[source], ceil[source], BY_CODE[target], ceil[target], level)
                assert found.letter == reference(source, target, int(level), numbers), (source, target, level)


LOW_GRADES = {
    "D4 grade 2 row becomes 封存 at 工作秘密": (2, "E-P", "E-D", 2, "Q"),
    "D4 grade 2 column becomes 拒绝": (2, "I-3", "E-P", 2, "X"),
    "D4 grade 2 still takes 内部": (2, "E-P", "E-D", 1, "G"),
    "D4 grade 1 row becomes 封存 at 内部": (1, "E-P", "E-D", 1, "Q"),
    "D4 grade 1 column becomes 拒绝": (1, "NET", "E-I", 1, "X"),
    "D4 grade 1 still takes 公开": (1, "E-P", "E-D", 0, "G"),
}


@pytest.mark.parametrize(("grade", "source", "target", "level", "letter"), LOW_GRADES.values(), ids=LOW_GRADES)
def test_low_grades(grade: int, source: str, target: str, level: int, letter: str) -> None:
    ceil = ceilings(grade)
    found = class_rule(BY_CODE[source], ceil[source], BY_CODE[target], ceil[target], Level(level))
    assert found.letter == letter


def test_one_zone_of_low_grade_among_high_ones() -> None:
    """Ceilings are of instances: a grade-2 neighbour is refused 工作秘密, a grade-3 neighbour is not."""
    shared = Point("shared", ZoneClass.EXT_SHARED, Level.L2)
    weak, strong = Point("weak", ZoneClass.EXT_DEDICATED, Level.L1), Point("strong", ZoneClass.EXT_DEDICATED, Level.L2)
    assert zone_rule(shared, weak, Level.L2) is Decision.DENY
    assert zone_rule(shared, strong, Level.L2) is Decision.GUARDED
    assert zone_rule(weak, shared, Level.L2) is Decision.QUARANTINE


# --- ceilings (D1, MA-04)

CEILINGS = {
    "外网 grade 1": (ZoneClass.EXT_SHARED, 1, Level.L0),
    "外网 grade 2": (ZoneClass.EXT_SHARED, 2, Level.L1),
    "外网 grade 3": (ZoneClass.EXT_SHARED, 3, Level.L2),
    "外网 grade 4 holds no more": (ZoneClass.EXT_DEDICATED, 4, Level.L2),
    "外网 grade 5 holds no more": (ZoneClass.EXT_DEDICATED, 5, Level.L2),
    "互联网区 grade 1": (ZoneClass.EXT_INTERNET, 1, Level.L0),
    "互联网区 grade 2": (ZoneClass.EXT_INTERNET, 2, Level.L1),
    "互联网区 grade 3 at most 内部": (ZoneClass.EXT_INTERNET, 3, Level.L1),
    "互联网区 grade 5 at most 内部": (ZoneClass.EXT_INTERNET, 5, Level.L1),
    "互联网": (ZoneClass.INTERNET, None, Level.L0),
    "秘密级": (ZoneClass.INT_L3, None, Level.L3),
    "机密级": (ZoneClass.INT_L4, None, Level.L4),
    "绝密级": (ZoneClass.INT_L5, None, Level.L5),
}


@pytest.mark.parametrize(("zone_class", "grade", "level"), CEILINGS.values(), ids=CEILINGS)
def test_ceiling(zone_class: ZoneClass, grade: int | None, level: Level) -> None:
    assert ceiling(zone_class, grade) is level


MISFITS = {
    "外网 without grade": (ZoneClass.EXT_SHARED, None),
    "grade 0": (ZoneClass.EXT_SHARED, 0),
    "grade 6": (ZoneClass.EXT_SHARED, 6),
    "内网 with grade": (ZoneClass.INT_L3, 3),
    "互联网 with grade": (ZoneClass.INTERNET, 1),
}


@pytest.mark.req("MA-04")
@pytest.mark.parametrize(("zone_class", "grade"), MISFITS.values(), ids=MISFITS)
def test_a_grade_that_does_not_fit_the_class(zone_class: ZoneClass, grade: int | None) -> None:
    with pytest.raises(ValueError, match="等保 grade"):
        ceiling(zone_class, grade)


# --- the six invariants, for instances of any grade


@dataclass(frozen=True)
class Point:
    name: str
    zone_class: ZoneClass
    ceiling: Level


@st.composite
def points(draw: st.DrawFn) -> Point:
    zone_class = draw(st.sampled_from(list(ZoneClass)))
    grade = draw(st.integers(1, 5)) if zone_class.net is Net.EXTRA else None
    # A name fixes its class and ceiling, as a policy does: equal names are one zone.
    number = draw(st.integers(1, 2))
    return Point(f"{zone_class}-{grade}-{number}", zone_class, ceiling(zone_class, grade))


levels = st.sampled_from(list(Level))
ALLOWING = {word for word in Decision if word.letter not in "XQ-"}


@given(points(), points(), levels)
def test_invariant_1_nothing_enters_above_the_ceiling(source: Point, target: Point, level: Level) -> None:
    decision = zone_rule(source, target, level)
    # S answers the person it is about, not the Internet: D4's one cell above the Internet's ceiling.
    if level > target.ceiling and decision is not Decision.SUBJECT:
        assert decision not in ALLOWING


@pytest.mark.req("XZ-09")
@given(points(), points(), levels)
def test_invariant_2_intranet_and_internet_never(source: Point, target: Point, level: Level) -> None:
    if {source.zone_class.net, target.zone_class.net} == {Net.INTRA, None}:
        assert zone_rule(source, target, level) in {Decision.DENY, Decision.QUARANTINE}


@pytest.mark.req("XZ-05")
@given(points(), points(), levels)
def test_invariant_3_out_of_the_intranet_by_release_only(source: Point, target: Point, level: Level) -> None:
    if (source.zone_class.net, target.zone_class.net) == (Net.INTRA, Net.EXTRA):
        assert zone_rule(source, target, level) in {Decision.RELEASE, Decision.DENY, Decision.QUARANTINE}


@pytest.mark.req("XZ-03")
@given(points(), points(), levels)
def test_invariant_4_into_the_intranet_by_import_or_media_only(source: Point, target: Point, level: Level) -> None:
    if (source.zone_class.net, target.zone_class.net) == (Net.EXTRA, Net.INTRA):
        allowed = {Decision.IMPORT, Decision.MEDIA, Decision.DENY, Decision.QUARANTINE}
        assert zone_rule(source, target, level) in allowed


@pytest.mark.req("XZ-10")
@given(points(), points(), levels)
def test_invariant_5_the_internet_touches_its_zone_only(source: Point, target: Point, level: Level) -> None:
    classes = {source.zone_class, target.zone_class}
    if ZoneClass.INTERNET in classes and ZoneClass.EXT_INTERNET not in classes:
        assert zone_rule(source, target, level) not in ALLOWING


@given(points(), points(), st.sampled_from([Level.L3, Level.L4, Level.L5]))
def test_invariant_6_state_secrets_stay_in_the_intranet(source: Point, target: Point, level: Level) -> None:
    if {source.zone_class.net, target.zone_class.net} != {Net.INTRA}:
        assert zone_rule(source, target, level) not in ALLOWING


@given(points(), points(), levels)
def test_only_a_zone_with_itself_is_within(source: Point, target: Point, level: Level) -> None:
    """Architecture section 2: two instances of one class are guarded within the target's ceiling, else denied."""
    decision = zone_rule(source, target, level)
    if decision is Decision.WITHIN:
        assert source == target
    if source.zone_class is target.zone_class and source.name != target.name and source.zone_class.net is not None:
        wanted = Decision.GUARDED if level <= target.ceiling else Decision.DENY
        assert decision is (Decision.QUARANTINE if level > source.ceiling else wanted)


@given(points(), points(), levels)
def test_lower_levels_pass_where_higher_ones_do(source: Point, target: Point, level: Level) -> None:
    """No level passes that a lower one of the same pair would not."""
    if zone_rule(source, target, level) in ALLOWING:
        assert all(zone_rule(source, target, lower) in ALLOWING for lower in Level if lower < level)


@given(points(), points())
def test_a_pair_without_path_never_allows(source: Point, target: Point) -> None:
    allowed = any(zone_rule(source, target, level) in ALLOWING for level in Level)
    if path_between(source.zone_class, target.zone_class) is None and source.name != target.name:
        assert not allowed


def test_words_letters_and_names() -> None:
    assert {word.letter for word in Decision} == set("AGRIDMOSXQ-")
    assert {word for word in Decision if word.allows} == ALLOWING
    assert [zone.code for zone in ZoneClass] == CODES
    assert all(zone.zh and zone.en for zone in ZoneClass)
