"""The YAML reader: values and lines, every fault with its line, and no input that gets past the contract."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zonegate.policies.yamltext import DEPTH_MAX, FILE_MAX_BYTES, TextDocument, read_text


def read(text: str) -> tuple[list[TextDocument], list[str]]:
    documents, problems = read_text("f.yaml", text.encode())
    return documents, [str(problem) for problem in problems]


def test_values_are_text_and_know_their_lines() -> None:
    documents, problems = read("a: 1\nb:\n  - no\n  - {c: 'x'}\n---\nk: |\n  two\n  lines\n")
    assert problems == []
    assert [document.value for document in documents] == [{"a": "1", "b": ["no", {"c": "x"}]}, {"k": "two\nlines\n"}]
    first, second = documents
    assert [first.line_of(path) for path in [(), ("a",), ("b", 0), ("b", 1, "c")]] == [1, 1, 3, 4]
    assert second.line_of(("k",)) == 6
    assert second.line_of(("missing", 3)) == second.line_of(())


# What other readers turn into something else stays the text that was written.
PLAIN = ["no", "yes", "on", "null", "~", "0x1F", "0o17", "017", "1e3", ".inf", "2030-01-01", "111000009900000172", "<<"]


@pytest.mark.parametrize("scalar", PLAIN)
def test_no_scalar_changes_its_form(scalar: str) -> None:
    documents, problems = read(f"key: {scalar}\n")
    assert problems == []
    assert documents[0].value == {"key": scalar}


FAULTS = {
    "key twice": ("a: 1\nb: 2\na: 3\n", "f.yaml:3: a: stands twice, first in line 1"),
    "key twice below": ("x:\n  a: 1\n  a: 2\n", "f.yaml:3: x.a: stands twice, first in line 2"),
    "anchor": ("a: &x 1\n", "f.yaml:1: anchors are not allowed: write the value out"),
    "alias": ("b: 1\na: *x\n", "f.yaml:2: aliases are not allowed: write the value out"),
    "tag": ("a: !!str 1\n", "f.yaml:1: tags are not allowed: every value is text, a list or a mapping"),
    "own tag": ("a: !x {b: 1}\n", "f.yaml:1: tags are not allowed: every value is text, a list or a mapping"),
    "python tag": (
        "a: !!python/object/apply:os.system [id]\n",
        "f.yaml:1: tags are not allowed: every value is text, a list or a mapping",
    ),
    "directive": ("%YAML 1.1\n---\na: 1\n", "f.yaml:1: YAML directives are not allowed"),
    "list as key": ("? [a]\n: b\n", "f.yaml:1: a key must be text"),
    "depth": ("[" * (DEPTH_MAX + 1), f"f.yaml:1: is nested deeper than {DEPTH_MAX}; the rest of the file was not read"),
    "no end": ("a: [1,\n", "f.yaml:2: is not YAML: did not find expected node content"),
    "control character": ("a: \x01\n", "f.yaml:1: is not YAML: it holds characters that YAML does not allow"),
}


@pytest.mark.parametrize(("text", "problem"), FAULTS.values(), ids=FAULTS)
def test_faults_with_their_line(text: str, problem: str) -> None:
    assert read(text)[1] == [problem]


def test_what_follows_a_fault_is_still_read() -> None:
    documents, problems = read("? [a]\n: {x: 1, x: 2}\nb: &n 1\n---\nc: d\nc: e\n")
    assert len(problems) == 4
    assert [document.value for document in documents] == [{"b": "1"}, {"c": "d"}]


def test_nesting_as_deep_as_allowed() -> None:
    documents, problems = read("[" * DEPTH_MAX + "]" * DEPTH_MAX)
    assert problems == []
    assert len(documents) == 1


def test_not_utf_8_and_too_large() -> None:
    assert str(read_text("f", b"a: 1\nb: \xff\n")[1][0]) == "f:2: is not UTF-8"
    assert read_text("f", b"#" * FILE_MAX_BYTES) == ([], [])
    assert "at most" in str(read_text("f", b"#" * (FILE_MAX_BYTES + 1))[1][0])


def test_an_alias_bomb_stays_small() -> None:
    bomb = "a: &a [x, x]\n" + "".join(
        f"{chr(98 + n)}: &{chr(98 + n)} [*{chr(97 + n)}, *{chr(97 + n)}]\n" for n in range(20)
    )
    documents, problems = read(bomb)
    assert problems
    assert all(len(str(document.value)) < len(bomb) * 4 for document in documents)


@given(st.binary(max_size=200) | st.text(alphabet="ab:-[]{}#&*!|>%?,'\"\n \t~0", max_size=80).map(str.encode))
@settings(max_examples=400)
def test_any_bytes_give_documents_or_problems(raw: bytes) -> None:
    documents, problems = read_text("f", raw)
    assert all(isinstance(document.value, (str, list, dict)) for document in documents)
    assert all(problem.file == "f" and problem.message for problem in problems)
