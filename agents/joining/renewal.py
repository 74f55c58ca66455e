"""Renews the machine's certificate after two thirds of its life, for as long as the agent runs.

The request is signed by the machine's key, which the hub lists for the site; so a machine that was
off for longer than its certificate lived renews it too. Each session with the broker reads the
files again.
"""

import asyncio
import logging
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agents.joining.credentials import (
    AUTHORITY_FILE,
    CertificateRefused,
    check_certificate,
    read_life,
    request_for,
    write_certificate,
)
from agents.joining.https_client import JoinFailed, JoinServer
from agents.metrics.counters import Counters
from agents.protocol.errors import WireError
from agents.protocol.joining.messages import JOIN_ANSWER, RENEW_REQUEST, RenewRequest
from agents.protocol.keys import SigningKey
from agents.runtime.backoff import Backoff
from agents.runtime.clock import AgentClock
from agents.runtime.faults import AgentFaults

_log = logging.getLogger(__name__)

_MAX_PAUSE_SECONDS: Final = 3600.0
_MIN_PAUSE_SECONDS: Final = 0.5
_CHECKS_PER_LIFE: Final = 50
_FIRST_RETRY_SECONDS: Final = 5.0


@dataclass(slots=True, kw_only=True)
class CertificateRenewal:
    """Keeps the certificate valid.

    Attributes:
        server: where the hub is asked.
        site: name of the site.
        key: the machine's key.
        data_dir: where the certificate is kept.
        clock: time as an input.
        jitter: chance as an input.
        counters: counts renewals.
        faults: the barrier around each try.
    """

    server: JoinServer
    site: str
    key: SigningKey
    data_dir: Path
    clock: AgentClock
    jitter: random.Random
    counters: Counters
    faults: AgentFaults

    async def run(self) -> None:
        """Renews until cancelled."""
        backoff = Backoff(
            initial_seconds=_FIRST_RETRY_SECONDS,
            max_seconds=_MAX_PAUSE_SECONDS,
            jitter=self.jitter,
        )
        while True:
            life = read_life(self.data_dir)
            now = self.clock.now()
            if life is not None:
                left_seconds = (life.last - now).total_seconds()
                self.counters.set("certificate_remaining_seconds", left_seconds)
            pause = _MAX_PAUSE_SECONDS
            if life is None or life.needs_renewal(now):
                is_renewed = False
                with self.faults.guard("certificate"):
                    is_renewed = await asyncio.to_thread(self._try_to_renew)
                result = "renewed" if is_renewed else "failed"
                self.counters.add("certificate_renewals_total", result=result)
                if is_renewed:
                    backoff.reset()
                    continue
                pause = backoff.next_seconds()
            if life is not None:
                # A short life is looked at more often; a broken certificate by the pauses alone.
                whole = (life.last - life.first).total_seconds()
                pause = min(pause, max(_MIN_PAUSE_SECONDS, (whole - 3600) / _CHECKS_PER_LIFE))
            await self.clock.sleep(pause)

    def _try_to_renew(self) -> bool:
        """Whether a new certificate is on the disk; blocks, so it runs on another thread."""
        request = RenewRequest(site=self.site, request=request_for(self.key, self.site))
        try:
            authority = (self.data_dir / AUTHORITY_FILE).read_text(encoding="ascii")
            data = self.server.post("/renew", RENEW_REQUEST.encode(request), authority)
            answer = JOIN_ANSWER.decode(data)
            check_certificate(answer, self.key, self.site)
            write_certificate(self.data_dir, answer)
        except (JoinFailed, WireError, CertificateRefused, OSError) as error:
            _log.warning("the certificate is not renewed: %s", ascii(str(error)[:300]))
            return False
        _log.info("the certificate is renewed")
        return True
