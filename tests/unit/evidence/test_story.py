"""What `zonegate why` tells: step, reason, component, whom to call; nothing of the content."""

from datetime import timedelta

import pytest

from support.evidence import ALLOWED, CALLER, GATEWAY, NOW, REFUSED, REQUEST, RESPONSE, decision, outcome
from zonegate.gateway.evidence.records import (
    AnyRecord,
    Executed,
    Hop,
    ImportRecord,
    ReceiptRecord,
    ResponseRecord,
    Verdict,
)
from zonegate.gateway.evidence.story import STEPS, Seen, tell
from zonegate.reasons import Area, Reason

FIRST, SECOND = GATEWAY, "spiffe://extra/11100000990000025W/gw-population"


def seen(*records: tuple[str, AnyRecord]) -> list[Seen]:
    return [Seen(gateway, "segment-00000001.zge", place, record) for place, (gateway, record) in enumerate(records)]


def later(seconds: float) -> dict[str, object]:
    return {"time": NOW + timedelta(seconds=seconds)}


GRANTED = decision("c", ALLOWED)
EGRESS_REFUSED = decision("c", REFUSED, hop=Hop.EGRESS, **later(1))
CLEARANCE = Verdict(allowed=False, reason=Reason.E_CLEARANCE, request=REQUEST, response=RESPONSE, step="dominance")

CASES = {
    "refused at the first gateway": (
        seen((FIRST, decision("c", REFUSED))),
        (Reason.E_NEED_APPROVAL, "share", FIRST, f"the caller: {CALLER.uri}"),
    ),
    "refused at the second gateway": (
        seen(
            (FIRST, GRANTED),
            (SECOND, EGRESS_REFUSED),
            (FIRST, outcome("c", grpc=7, reason=Reason.E_NEED_APPROVAL, executed=Executed.NO, **later(2))),
        ),
        (Reason.E_NEED_APPROVAL, "share", SECOND, f"the caller: {CALLER.uri}"),
    ),
    "an officer's matter": (
        seen((SECOND, decision("c", CLEARANCE))),
        (Reason.E_CLEARANCE, "dominance", SECOND, f"the security officer of {SECOND}"),
    ),
    "went well": (
        seen((FIRST, GRANTED), (SECOND, decision("c", ALLOWED, hop=Hop.EGRESS)), (FIRST, outcome("c", **later(1)))),
        (Reason.OK, "forward", FIRST, "nobody"),
    ),
    "the provider could not be reached": (
        seen(
            (FIRST, GRANTED),
            (SECOND, outcome("c", grpc=14, reason=Reason.E_UPSTREAM, executed=Executed.NO, **later(1))),
            (FIRST, outcome("c", grpc=14, reason=Reason.E_UPSTREAM_RESET, executed=Executed.UNKNOWN, **later(2))),
        ),
        (Reason.E_UPSTREAM, "forward", SECOND, f"the operator of {SECOND}"),
    ),
    "the response was raised": (
        seen(
            (SECOND, GRANTED),
            (
                SECOND,
                ResponseRecord(crossing="c", allowed=False, reason=Reason.E_RESPONSE_RAISED, flow=RESPONSE, **later(1)),
            ),
            (SECOND, outcome("c", grpc=7, reason=Reason.E_RESPONSE_RAISED, **later(2))),
        ),
        (Reason.E_RESPONSE_RAISED, "inspection", SECOND, f"the provider: {ALLOWED.provider}"),
    ),
    "accepted for transport": (
        seen(
            (FIRST, decision("c", ALLOWED, hop=Hop.EXPORT)),
            (
                FIRST,
                ReceiptRecord(crossing="c", object="o1", digest="d", sender=CALLER.uri, importer="imp", **later(1)),
            ),
        ),
        (Reason.OK, "forward", FIRST, "nobody"),
    ),
    "an object imported before": (
        seen(
            (
                SECOND,
                ImportRecord(
                    object="o1", crossing="c", allowed=False, reason=Reason.E_IMPORT_DUPLICATE, sender="s", **later(1)
                ),
            )
        ),
        (Reason.E_IMPORT_DUPLICATE, "import", SECOND, "nobody"),
    ),
}


@pytest.mark.parametrize(("records", "told"), CASES.values(), ids=CASES)
def test_story(records: list[Seen], told: tuple[Reason, str, str, str]) -> None:
    story = tell("c", records)
    assert (story.reason, story.step, story.component, story.call.en) == told
    assert story.call.zh
    assert all(line.en and line.zh for line in story.lines)
    if story.reason is not Reason.OK:
        assert any(line.en.startswith("whom to call") for line in story.lines)
        assert any(line.zh.startswith("联系") for line in story.lines)


def test_order_of_directories_does_not_matter() -> None:
    records, told = CASES["refused at the second gateway"]
    story = tell("c", list(reversed(records)))
    assert (story.reason, story.step, story.component, story.call.en) == told


def test_a_recovered_crossing_says_that_its_end_is_not_known() -> None:
    records = seen(
        (FIRST, GRANTED),
        (
            FIRST,
            outcome("c", grpc=2, reason=Reason.E_INTERNAL, executed=Executed.UNKNOWN, recovered=True, **later(9)),
        ),
    )
    text = "\n".join(line.en for line in tell("c", records).lines)
    assert "executed unknown" in text
    assert "the gateway stopped before the end" in text


@pytest.mark.parametrize("area", Area)
def test_every_step_has_a_chinese_word(area: Area) -> None:
    assert STEPS[area]
