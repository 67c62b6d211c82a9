"""The shipped alert rules: promtool accepts and tests them, each has its runbook, each metric in them exists."""

import re
import subprocess
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.tools import debian_tool
from zonegate.monitoring import names
from zonegate.monitoring.names import Kind

MONITORING = Path(str(resources.files("zonegate.monitoring")))
RULES = MONITORING / "alerts" / "zonegate.rules.yml"
CASES = sorted((MONITORING / "alerts" / "tests").glob("*.yml"))
_DOCUMENT: dict[str, Any] = yaml.safe_load(RULES.read_text(encoding="utf-8"))
_ALL = [rule for group in _DOCUMENT["groups"] for rule in group["rules"]]
ALERTS = {rule["alert"]: rule for rule in _ALL if "alert" in rule}
RECORDED = {rule["record"] for rule in _ALL if "record" in rule}

EXPORTED = {
    name
    for metric in names.all_metrics()
    for name in (
        [metric.name + suffix for suffix in ("_bucket", "_count", "_sum")]
        if metric.kind is Kind.HISTOGRAM
        else [metric.name]
    )
}


def _promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    promtool = debian_tool("promtool", "prometheus")
    return subprocess.run([promtool, *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.req("MO-06")
def test_promtool_accepts_the_rules() -> None:
    done = _promtool("check", "rules", RULES)
    assert done.returncode == 0, done.stderr


def test_promtool_accepts_the_example_configuration() -> None:
    done = _promtool("check", "config", MONITORING / "alerts" / "prometheus.example.yml")
    assert done.returncode == 0, done.stderr


@pytest.mark.req("MO-06")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_promtool_case(case: Path) -> None:
    done = _promtool("test", "rules", case)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.req("MO-06")
def test_a_broken_expectation_fails(tmp_path: Path) -> None:
    """The cases above would be worthless if promtool passed whatever it is given."""
    text = (MONITORING / "alerts" / "tests" / "process.yml").read_text(encoding="utf-8")
    assert "instance: gw-a}" in text
    broken = tmp_path / "broken.yml"
    broken.write_text(text.replace("../zonegate.rules.yml", str(RULES)).replace("instance: gw-a}", "instance: gw-z}"))
    assert _promtool("test", "rules", broken).returncode != 0


@pytest.mark.parametrize("alert", ALERTS)
def test_annotations_and_runbook(alert: str) -> None:
    notes = ALERTS[alert]["annotations"]
    assert set(notes) == {"summary", "summary_zh", "description", "runbook"}
    assert re.search(r"[\u4e00-\u9fff]", notes["summary_zh"])
    assert ALERTS[alert]["labels"]["severity"] in {"warning", "critical"}
    assert notes["runbook"] == f"monitoring/runbooks/{alert}.md"
    page = (MONITORING / "runbooks" / f"{alert}.md").read_text(encoding="utf-8")
    assert page.startswith(f"# {alert} · ")
    assert f"Severity {ALERTS[alert]['labels']['severity']}." in page
    for heading in ("## What it means · 含义", "## Look at first · 先看", "## Then · 处置", "## Call · 联系"):
        assert f"\n{heading}\n" in page


def test_no_runbook_without_an_alert() -> None:
    assert {page.stem for page in (MONITORING / "runbooks").glob("*.md")} == set(ALERTS)


@pytest.mark.parametrize("alert", ALERTS)
def test_each_alert_has_a_case_that_fires_and_one_that_does_not(alert: str) -> None:
    tests = [test for case in CASES for test in yaml.safe_load(case.read_text(encoding="utf-8"))["tests"]]
    expected = [
        (len(expectation["exp_alerts"]), len(test["input_series"]))
        for test in tests
        for expectation in test["alert_rule_test"]
        if expectation["alertname"] == alert
    ]
    assert any(fires for fires, _ in expected), "no case in which it fires"
    assert any(fires < series for fires, series in expected), "no neighbour that stays silent"


@pytest.mark.parametrize("rule", _ALL, ids=lambda rule: rule.get("alert") or rule["record"])
def test_every_metric_in_a_rule_is_exported(rule: dict[str, Any]) -> None:
    used = set(re.findall(r"\bzonegate_[a-z0-9_]+|\b[a-z_]+:[a-z0-9_:]+", rule["expr"]))
    assert used or rule["expr"].startswith("up{")
    assert used <= EXPORTED | RECORDED


@pytest.mark.parametrize("rule", _ALL, ids=lambda rule: rule.get("alert") or rule["record"])
def test_every_value_in_a_rule_is_in_its_closed_set(rule: dict[str, Any]) -> None:
    for label, values in re.findall(r'(reason|decision)[=!]~?"([^"]+)"', rule["expr"]):
        assert set(values.split("|")) <= set(names.REASONS if label == "reason" else names.DECISIONS)
