"""docs/trust.md names every profile with its years, every lint rule, and only those."""

import re
from pathlib import Path

from zonegate.ca.lint.run import RULES, SHAPE_RULE
from zonegate.ca.profile import RULES as PROFILES

TEXT = (Path(__file__).parents[3] / "docs" / "trust.md").read_text()


def test_every_lint_rule_is_documented_and_no_other() -> None:
    assert set(re.findall(r"`(zg_\w+)`", TEXT)) == {rule.rule_id for rule in RULES} | {SHAPE_RULE}


def test_every_profile_is_documented_with_its_limits() -> None:
    for rules in PROFILES.values():
        (row,) = re.findall(rf"^\| `{rules.profile.value}` \|.*$", TEXT, re.MULTILINE)
        assert rules.zh in row
        assert f"{rules.max_years} years" in row
        assert all(bit in row for bit in rules.key_usage)
        assert row.endswith("| |" if rules.path_length is None else f"| {rules.path_length} |")
