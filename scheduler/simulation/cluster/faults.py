"""Faults on request: annotations on a Node, or on a pod (through its workload's template).

`kapok.dev/simulate-fault` is one of the names below; `slow-start=SECONDS` sets how slow.
"""

import math
from dataclasses import dataclass

from scheduler.simulation.cluster.objects import Meta

FAULT = "kapok.dev/simulate-fault"
SECONDS = "kapok.dev/simulated-seconds"

NOT_READY = "not-ready"
CRASH_LOOP = "crash-loop"
SLOW_START = "slow-start"
DRAIN = "drain"

EXPLAINED = {
    NOT_READY: "Node: its kubelet falls silent; Ready=Unknown, taints, pods are evicted after "
    "their toleration (300 s unless they say otherwise)",
    CRASH_LOOP: "Node or pod: containers exit and wait in CrashLoopBackOff; a Job's pod fails",
    SLOW_START: "Node or pod: 30 s until Ready, or slow-start=SECONDS",
    DRAIN: "Node: cordoned, and its pods are evicted (DaemonSet pods stay)",
}
"""Every fault and what it does; `kapok simulate-cluster --help` shows this."""

_SLOW_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault with its parameter.

    Attributes:
        name: one of `EXPLAINED`, or "" for none.
        seconds: of `slow-start`.
    """

    name: str = ""
    seconds: float = _SLOW_SECONDS


NONE = Fault()


def fault_of(meta: Meta) -> Fault:
    """The fault that an object's annotation asks for; an unknown name asks for none."""
    name, _, parameter = meta.annotations.get(FAULT, "").partition("=")
    if name not in EXPLAINED:
        return NONE
    return Fault(name, _seconds(parameter, _SLOW_SECONDS))


def simulated_seconds(meta: Meta, default: float) -> float:
    """How long a pod runs before it succeeds; `default` where it was not said."""
    return _seconds(meta.annotations.get(SECONDS, ""), default)


def _seconds(text: str, default: float) -> float:
    try:
        value = float(text)
    except ValueError:
        return default
    return value if 0 <= value < math.inf else default
