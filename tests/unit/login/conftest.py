from collections.abc import Iterator

import pytest

from support.officers import World, make_world
from zonegate.roles.roster import Roster


@pytest.fixture(scope="session")
def _world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    world = make_world(tmp_path_factory.mktemp("login-net"))
    yield world
    world.net.close()


@pytest.fixture
def world(_world: World) -> Iterator[World]:
    """The net with its people; what a test does to the roster is undone."""
    before: Roster | None = _world.roster
    people = dict(_world.credentials)
    yield _world
    _world.roster = before
    _world.credentials = people
