"""What one identity may take: bytes, watches and requests, apart from those of others."""

import pytest

from scheduler.apiserver.auth.limits import IdentityLimits, UsageByIdentity
from scheduler.apiserver.auth.rbac import Identity
from scheduler.apiserver.base.errors import ApiError
from tests.support.fake_clock import FakeClock

LIMITS = IdentityLimits(requests_per_second=10, bytes_per_second=100, max_watches=1)
TENANT, OTHER = Identity("a", "tenant"), Identity("b", "tenant")


async def test_bytes_are_paid_before_the_next_request() -> None:
    clock = FakeClock()
    usage = UsageByIdentity(clock, others=LIMITS)
    usage.of(TENANT).charge_bytes(500)
    with pytest.raises(ApiError) as refused:
        usage.of(TENANT).admit_request()
    assert (refused.value.code, refused.value.headers["Retry-After"]) == (429, "3")
    usage.of(OTHER).admit_request()
    await clock.advance(3)
    usage.of(TENANT).admit_request()


def test_watches_of_one_identity_are_counted() -> None:
    usage = UsageByIdentity(FakeClock(), others=LIMITS)
    with usage.of(TENANT).open_watch():
        with pytest.raises(ApiError) as refused, usage.of(TENANT).open_watch():
            pass
        assert refused.value.code == 429
        with usage.of(OTHER).open_watch():
            pass
    with usage.of(TENANT).open_watch():
        pass
