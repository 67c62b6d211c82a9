from collections.abc import Iterator

import pytest

from support.clock import FakeClock
from support.pki import TestNet, make_net
from zonegate.identity import Net


@pytest.fixture(scope="session")
def extra(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestNet]:
    """One EXTRA net for every test that adds certificates and needs nothing else of it."""
    net = make_net(tmp_path_factory.mktemp("extra"), Net.EXTRA, FakeClock())
    yield net
    net.close()


@pytest.fixture(scope="session")
def intra(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestNet]:
    net = make_net(tmp_path_factory.mktemp("intra"), Net.INTRA, FakeClock())
    yield net
    net.close()


@pytest.fixture
def own_net(tmp_path) -> Iterator[TestNet]:
    """An EXTRA net of the test's own, for what counts rows, moves clocks or breaks things."""
    net = make_net(tmp_path, Net.EXTRA, FakeClock())
    yield net
    net.close()
