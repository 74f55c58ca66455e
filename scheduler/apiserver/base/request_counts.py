"""Counts requests, and says so in the text format of Prometheus, under a real server's names.

`apiserver_request_total` counts by resource, verb and code; with the CPU time and the memory of the
process it shows what a workload costs the server. The values of its labels are bounded: resources
that are served, known methods, and status codes.
"""

import os
import resource
from collections import Counter
from pathlib import Path

_METHODS = frozenset({"DELETE", "GET", "HEAD", "PATCH", "POST", "PUT", "WATCH"})
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class RequestCounts:
    """The requests of one server since its start."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str, str, str, str, int]] = Counter()

    def add(
        self, *, group: str, version: str, plural: str, subresource: str, method: str, code: int
    ) -> None:
        """Counts one request; a watch counts when it ends."""
        verb = method if method in _METHODS else "OTHER"
        self._counts[group, version, plural, subresource, verb, code] += 1

    def render(self) -> bytes:
        """The metrics, one sample a line."""
        lines = [
            "# HELP apiserver_request_total Requests on resources, by verb, resource and code.",
            "# TYPE apiserver_request_total counter",
        ]
        for (group, version, plural, subresource, verb, code), count in sorted(
            self._counts.items()
        ):
            lines.append(
                f'apiserver_request_total{{code="{code}",group="{group}",resource="{plural}",'
                f'subresource="{subresource}",verb="{verb}",version="{version}"}} {count}'
            )
        usage = resource.getrusage(resource.RUSAGE_SELF)
        lines += [
            "# HELP process_cpu_seconds_total CPU time of the process.",
            "# TYPE process_cpu_seconds_total counter",
            f"process_cpu_seconds_total {usage.ru_utime + usage.ru_stime:.3f}",
            "# HELP process_resident_memory_bytes Resident memory of the process.",
            "# TYPE process_resident_memory_bytes gauge",
            f"process_resident_memory_bytes {_resident_bytes()}",
        ]
        return ("\n".join(lines) + "\n").encode()


def _resident_bytes() -> int:
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, IndexError, ValueError):  # not Linux: the peak, in kilobytes
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return pages * os.sysconf("SC_PAGE_SIZE")
