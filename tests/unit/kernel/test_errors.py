"""The error that crosses a border: reason and sentence, one or many."""

from zonegate.errors import Problem, ProblemsError, ZoneGateError
from zonegate.reasons import Reason


def test_reason_and_sentence() -> None:
    error = ZoneGateError(Reason.E_KEY, "key: is short")
    assert (error.reason, error.detail, str(error)) == (Reason.E_KEY, "key: is short", "E_KEY: key: is short")


def test_problems_keep_their_order_and_places() -> None:
    problems = (
        Problem("a.yaml", 3, "spec.zone", "is unknown"),
        Problem("a.yaml", None, "", "is empty"),
        Problem("b.yaml", 1, "", "is not YAML"),
    )
    error = ProblemsError(Reason.E_DOCUMENT, iter(problems))
    assert error.problems == problems
    assert error.reason is Reason.E_DOCUMENT
    assert error.detail.splitlines() == ["a.yaml:3: spec.zone: is unknown", "a.yaml: is empty", "b.yaml:1: is not YAML"]
    assert isinstance(error, ZoneGateError)
