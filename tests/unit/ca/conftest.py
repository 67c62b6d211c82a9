import shutil
from collections.abc import Iterator
from pathlib import Path

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


@pytest.fixture(scope="session")
def founded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A net that nobody uses: it is copied, because setting a CA up costs four key derivations."""
    path = tmp_path_factory.mktemp("founded") / "net"
    make_net(path, Net.EXTRA, FakeClock()).close()
    return path


@pytest.fixture
def own_net(tmp_path: Path, founded: Path) -> Iterator[TestNet]:
    """An EXTRA net of the test's own, for what counts rows, moves clocks or breaks things."""
    shutil.copytree(founded, tmp_path / "net")
    net = TestNet(tmp_path / "net", Net.EXTRA, FakeClock())
    yield net
    net.close()
