import pytest

from support.evidence import EvidenceNet, make_evidence_net


@pytest.fixture(scope="session")
def evidence_net(tmp_path_factory: pytest.TempPathFactory) -> EvidenceNet:
    return make_evidence_net(tmp_path_factory.mktemp("evidence-net"))
