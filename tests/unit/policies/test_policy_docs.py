"""docs/policy.md names every kind and key of a document, every level, class and word, and no key that is not there."""

import re
from pathlib import Path

from pydantic import BaseModel

from zonegate.policies.documents import KINDS, ImporterPart, MethodPart, RatePart
from zonegate.policies.labels import Level
from zonegate.policies.zones import Decision, ZoneClass

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "policy.md").read_text(encoding="utf-8")
ROWS = dict(re.findall(r"(?m)^\| ([A-Z][A-Za-z]+|methods of a Resource) \| (.*) \|$", PAGE.split("## Documents")[1]))
PARTS: dict[str, tuple[type[BaseModel], ...]] = {"Zone": (ImporterPart,), "Grant": (RatePart,)}


def keys(*models: type[BaseModel]) -> dict[str, bool]:
    return {
        str(field.alias): field.is_required()
        for model in models
        for field in model.model_fields.values()
        if field.alias not in {"apiVersion", "kind"}
    }


def test_every_key_of_every_kind() -> None:
    models = {kind: (model, *PARTS.get(kind, ())) for kind, model in KINDS.items()}
    models["methods of a Resource"] = (MethodPart,)
    for kind, parts in models.items():
        wanted = keys(*parts)
        told = set(re.findall(r"`([a-zA-Z]+)`", ROWS[kind]))
        assert set(wanted) <= told, kind
        assert told - set(wanted) <= {"extra", "intra", "internet", "none", "schema"}, kind
        bold = set(re.findall(r"\*\*`([a-zA-Z]+)`\*\*", ROWS[kind]))
        # a zone's organ may be missing for the one class that nobody owns
        assert bold - {"organ"} == {key for key, required in wanted.items() if required}, kind


def test_every_level_class_and_word() -> None:
    for level in Level:
        assert f"| `{level.name}` | {level.zh} | {level.en} |" in PAGE
    for zone_class in ZoneClass:
        assert f"| `{zone_class.value}` | {zone_class.code} | {zone_class.zh} |" in PAGE
    for word in Decision:
        assert f"`{word.value}`" in PAGE
        assert word.zh in PAGE
