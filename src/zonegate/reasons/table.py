"""Reads `reasons.toml` into the registry; a missing, unknown or double row stops the import."""

import tomllib
from collections.abc import Mapping
from importlib import resources
from types import MappingProxyType
from typing import Any

from zonegate.reasons.model import Area, Executed, GrpcCode, Owner, Reason, ReasonInfo


def _row(code: str, fields: dict[str, Any]) -> ReasonInfo:
    return ReasonInfo(
        reason=Reason(code),
        area=Area(fields.pop("area")),
        grpc=GrpcCode[fields.pop("grpc")],
        executed=Executed(fields.pop("executed")),
        owner=Owner(fields.pop("owner")),
        **fields,
    )


def _load() -> Mapping[Reason, ReasonInfo]:
    text = resources.files("zonegate.reasons").joinpath("reasons.toml").read_text(encoding="utf-8")
    registry = {Reason(code): _row(code, fields) for code, fields in tomllib.loads(text).items()}
    missing = [reason for reason in Reason if reason not in registry]
    if missing:
        msg = f"reasons.toml lacks {', '.join(missing)}"
        raise ValueError(msg)
    return MappingProxyType({reason: registry[reason] for reason in Reason})


REGISTRY: Mapping[Reason, ReasonInfo] = _load()
