"""Where tests of a hub run: the embedded one, and a real API server if there is one."""

from pathlib import Path

import pytest

from tests.support.real_hub import SERVERS


@pytest.fixture(params=SERVERS, ids=lambda one: "real" if one else "embedded")
def server(request: pytest.FixtureRequest) -> Path | None:
    """The kubeconfig of a real API server; None: the embedded hub."""
    found: Path | None = request.param
    return found
