"""The importer's own decision: the shipped policy of the intranet, then each fact of the object changed."""

from dataclasses import replace

import pytest

from support.boundary import CALLER, FIGURE, GATEWAY, IMPORTER, PATH, PROVIDER, figure_header
from support.clock import NOON
from support.policy import compile_sample, replaced, sample_policy
from zonegate.errors import ZoneGateError
from zonegate.gateway.boundary.import_decision import Place, decide_import, inspect, refused_content
from zonegate.gateway.inspection import Inspectors
from zonegate.identity import Net
from zonegate.policies.zones import Decision
from zonegate.reasons import Area, Reason

POLICY = sample_policy(Net.INTRA)
PLACE = Place(IMPORTER, "inner")


def decide(policy=POLICY, place=PLACE, **changes):
    return decide_import(policy, figure_header(**changes), place, now=NOON)


@pytest.mark.req("XZ-03", "XZ-14")
def test_the_shipped_policy_lets_the_figure_in():
    decision = decide()
    assert (decision.reason, decision.imported) == (Reason.OK, True)
    assert decision.request.decision is Decision.IMPORT
    assert decision.response.decision is Decision.NONE


REFUSED = {
    "a caller that this policy does not know": ({"caller": CALLER + "2"}, Reason.E_IDENTITY),
    "a gateway that this policy does not name": ({"gateway": GATEWAY + "2"}, Reason.E_PEER_IDENTITY),
    "another source zone": ({"source_zone": "portal"}, Reason.E_ZONE_IDENTITY),
    "another target zone": ({"target_zone": "archive"}, Reason.E_IMPORT_TARGET),
    "another importer": ({"importer": IMPORTER + "2"}, Reason.E_IMPORT_TARGET),
    "another provider": ({"provider": PROVIDER + "2"}, Reason.E_IMPORT_TARGET),
    "another method": ({"path": PATH + "All"}, Reason.E_NOT_CATALOGUED),
    "another resource": ({"resource": "population"}, Reason.E_NOT_CATALOGUED),
    "another purpose": ({"purpose": "其他"}, Reason.E_PURPOSE),
    "no purpose": ({"purpose": ""}, Reason.E_PURPOSE),
    "a label above the flow rule's": ({"label": "L3"}, Reason.E_SPILL),
    "a category that nobody holds": ({"label": "L1;cat=案件"}, Reason.E_CATEGORY),
    "the other way round": (
        {
            "source_net": Net.INTRA,
            "target_net": Net.EXTRA,
            "caller": PROVIDER,
            "gateway": IMPORTER,
            "importer": GATEWAY,
            "provider": CALLER,
        },
        Reason.E_IMPORT_TARGET,
    ),
}


@pytest.mark.req("XZ-01", "MA-08")
@pytest.mark.parametrize(("change", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_this_net_does_not_allow_stays_out(change, reason):
    decision = decide(**change)
    assert decision.reason is reason
    assert not decision.imported


def test_a_zone_without_gateways_lets_nobody_in():
    files = replaced("gateways: [spiffe://extra/111000009900000172/gateway-shared]\n", "", Net.INTRA)
    assert decide(compile_sample(files).policy).reason is Reason.E_PEER_IDENTITY


def test_an_importer_serves_its_own_zone_only():
    assert decide(place=Place(IMPORTER, "archive")).reason is Reason.E_IMPORT_TARGET


def test_a_method_that_is_not_one_way_here_is_not_imported():
    files = replaced("    oneWay: true\n", "", Net.INTRA)
    files = {
        **files,
        "intra.yaml": files["intra.yaml"].replace(
            b"expect: import\nreason: OK", b"expect: deny\nreason: E_OBJECT_ONLY"
        ),
    }
    assert decide(compile_sample(files).policy).reason is Reason.E_OBJECT_ONLY


def test_a_system_of_this_net_is_no_sender():
    system = replace(POLICY.systems[CALLER], foreign=False)
    policy = replace(POLICY, systems={**POLICY.systems, CALLER: system})
    assert decide(policy).reason is Reason.E_ZONE_IDENTITY


@pytest.mark.req("MA-01")
def test_of_two_catalogues_the_higher_label_counts():
    assert decide(label="L0").request.level == 1
    assert decide(label="L2").request.level == 2


def test_an_expired_policy_imports_nothing():
    policy = replace(POLICY, not_after=NOON)
    assert decide(policy).reason is Reason.E_BUNDLE_EXPIRED


# --- inspection: always in the intranet

FILTERS = Inspectors(POLICY)
CONTENTS = {
    "an unknown field": (FIGURE + b"\x22\x01x", Reason.E_SCHEMA),
    "not a figure": (b"\xff\xff", Reason.E_SCHEMA),
    "invalid UTF-8": (b"\x0a\x01\xff", Reason.E_SCHEMA),
    "too large": (bytes(5 << 20), Reason.E_MESSAGE_SIZE),
}


@pytest.mark.req("XZ-02", "XZ-04", "CI-08")
@pytest.mark.parametrize(("message", "reason"), CONTENTS.values(), ids=CONTENTS)
def test_what_the_descriptor_does_not_describe_stays_out(message, reason):
    decision = decide()
    with pytest.raises(ZoneGateError) as caught:
        inspect(decision, (message,), FILTERS)
    refused = refused_content(decision, caught.value)
    assert (refused.reason, refused.step, refused.imported) == (reason, Area.INSPECTION, False)


def test_what_goes_on_is_encoded_anew():
    assert inspect(decide(), (b"\x18\xe4\x80\x00" + FIGURE[:-2],), FILTERS) == (FIGURE,)


@pytest.mark.parametrize("messages", [(), (FIGURE, FIGURE)])
def test_a_unary_method_takes_one_message(messages):
    with pytest.raises(ZoneGateError) as caught:
        inspect(decide(), messages, FILTERS)
    assert caught.value.reason is Reason.E_SCHEMA
