"""The role matrix, cell by cell against the text of C7, and which roles exclude each other."""

import re
from itertools import combinations
from pathlib import Path

import pytest

from zonegate.errors import ZoneGateError
from zonegate.reasons import Reason
from zonegate.roles.matrix import Act, check, who_may
from zonegate.roles.role import AUDIT, OPERATORS, PUBLIC_MINIMUM, THREE_OFFICERS, Role, Separation

COLUMNS = (
    {Role.SYSTEM_ADMIN},
    {Role.SECURITY_OFFICER},
    AUDIT,
    OPERATORS,
    {Role.CLASSIFYING_OFFICER},
    {Role.HANDLER},
)
GROUPS = {"审计*": AUDIT, "安全*": {Role.SECURITY_OFFICER}, "系统*": {Role.SYSTEM_ADMIN}}


def table() -> dict[str, list[str]]:
    text = (Path(__file__).parent / "c7.md").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.strip("|\n").split("|")] for line in text.splitlines()]
    return {row[0]: row[1:] for row in rows[2:]}


ROWS = table()
CELLS = {
    f"{act.value}: {role}": (act, role, ROWS[act.en][column])
    for act in Act
    for column, roles in enumerate(COLUMNS)
    for role in sorted(roles)
}


def test_the_table_is_whole() -> None:
    assert set(ROWS) == {act.en for act in Act} | {"Incompatible with"}
    assert set().union(*COLUMNS) == set(Role)
    assert len(CELLS) == len(Act) * len(Role)


@pytest.mark.req("CA-10", "RO-02", "MA-07", "AU-03")
@pytest.mark.parametrize(("act", "role", "cell"), CELLS.values(), ids=CELLS)
def test_a_cell_of_c7(act: Act, role: Role, cell: str) -> None:
    if cell == "–":
        assert role not in who_may(act)
        with pytest.raises(ZoneGateError) as caught:
            check(role, act)
        assert caught.value.reason is Reason.E_ROLE_ACT
    else:
        assert check(role, act).value == cell
        assert re.search(r"[\u4e00-\u9fff]", check(role, act).zh)


def excluded_by_c7() -> set[frozenset[Role]]:
    found = set()
    for column, cell in enumerate(ROWS["Incompatible with"]):
        others = (
            set(Role) - set(COLUMNS[column])
            if cell == "all others"
            else set().union(*(GROUPS[name] for name in cell.split(", ")))
        )
        found |= {frozenset((role, other)) for role in COLUMNS[column] for other in others}
    return found


@pytest.mark.req("RO-01")
@pytest.mark.parametrize("pair", [*combinations(sorted(Role), 2)], ids=" + ".join)
def test_a_pair_of_roles_in_one_person(pair: tuple[Role, Role]) -> None:
    expected = frozenset(pair) in excluded_by_c7()
    assert (Separation().conflict(pair) is not None) is expected
    assert (frozenset(pair) in THREE_OFFICERS) is expected


@pytest.mark.req("RO-01")
@pytest.mark.parametrize("missing", sorted(PUBLIC_MINIMUM, key=sorted), ids=lambda pair: " + ".join(sorted(pair)))
def test_the_setting_may_only_be_stricter(missing: frozenset[Role]) -> None:
    with pytest.raises(ValueError, match="RO-01"):
        Separation(THREE_OFFICERS - {missing})
    loosest = Separation(PUBLIC_MINIMUM)
    assert loosest.conflict(missing)
    officers = (Role.SYSTEM_ADMIN, Role.SECURITY_OFFICER)
    assert loosest.conflict(officers) is None
    assert loosest.stricter([frozenset(officers)]).conflict(officers)


@pytest.mark.req("CA-10")
def test_roles_have_two_languages_and_the_numbers_of_gmt_0006() -> None:
    assert {role.gmt0006 for role in Role} == {1, 2, 3, 4, 5, 6, None}
    assert Role.CLASSIFYING_OFFICER.gmt0006 is None
    for role in Role:
        assert re.search(r"[\u4e00-\u9fff]", role.zh)
        assert role.en.isascii()


def test_a_pair_is_two_roles() -> None:
    with pytest.raises(ValueError, match="two different"):
        Separation().stricter([frozenset({Role.HANDLER})])
