"""Property tests run hundreds of examples each; a busy machine makes them several times slower."""

import pytest

_TIMEOUT_SECONDS = 300
_HERE = __file__.rpartition("/")[0]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Gives each property test a generous limit, unless it states its own."""
    for item in items:
        if str(item.path).startswith(_HERE) and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(_TIMEOUT_SECONDS))
