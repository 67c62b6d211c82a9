import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.clock import FakeClock
from support.kmc import KmcLab, Parties, make_parties
from support.pki import TestNet, make_net
from zonegate.identity import Net


@pytest.fixture(scope="session")
def kmc_net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestNet]:
    net = make_net(tmp_path_factory.mktemp("kmc-net"), Net.EXTRA, FakeClock())
    yield net
    net.close()


@pytest.fixture(scope="session")
def parties(kmc_net: TestNet) -> Parties:
    return make_parties(kmc_net)


@pytest.fixture
def sealed(tmp_path: Path, kmc_net: TestNet, parties: Parties) -> Iterator[KmcLab]:
    """A centre nobody has opened."""
    made = KmcLab(tmp_path, kmc_net, parties)
    yield made
    made.close()


@pytest.fixture
def lab(sealed: KmcLab) -> KmcLab:
    """An open centre with six standby keys."""
    sealed.unseal()
    return sealed


@pytest.fixture
def own_net(tmp_path: Path, kmc_net: TestNet) -> Iterator[TestNet]:
    """A copy of the net whose ledger a test may read whole."""
    shutil.copytree(kmc_net.path, tmp_path / "net")
    net = TestNet(tmp_path / "net", Net.EXTRA, kmc_net.clock)
    yield net
    net.close()
