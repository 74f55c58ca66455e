"""Faults on request, by an annotation of a Node or a pod (in its workload's pod template).

`kapok.dev/simulate-fault` takes one of the names below; `slow-start=SECONDS` sets the delay.
"""

import math
from dataclasses import dataclass

from scheduler.simulation.cluster.objects import ObjectMeta

FAULT_ANNOTATION = "kapok.dev/simulate-fault"
SECONDS_ANNOTATION = "kapok.dev/simulated-seconds"

NOT_READY = "not-ready"
CRASH_LOOP = "crash-loop"
SLOW_START = "slow-start"
DRAIN = "drain"

FAULT_DESCRIPTIONS = {
    NOT_READY: "Node: its kubelet stops reporting; Ready is Unknown, the node is tainted, and its "
    "pods are evicted after their tolerationSeconds (default: 300)",
    CRASH_LOOP: "Node or pod: containers exit and wait in CrashLoopBackOff; a Job's pod fails",
    SLOW_START: "Node or pod: 30 s until Ready, or slow-start=SECONDS",
    DRAIN: "Node: it is cordoned, and its pods are evicted (DaemonSet pods stay)",
}
"""Every fault with its effect; `kapok simulate-cluster --help` shows them."""

_DEFAULT_SLOW_START_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault with its parameter.

    Attributes:
        name: one of `FAULT_DESCRIPTIONS`; empty: no fault.
        seconds: delay of `slow-start`.
    """

    name: str = ""
    seconds: float = _DEFAULT_SLOW_START_SECONDS


NO_FAULT = Fault()


def fault_of(meta: ObjectMeta) -> Fault:
    """The fault that an object's annotation requests; an unknown name means no fault."""
    name, _, parameter = meta.annotations.get(FAULT_ANNOTATION, "").partition("=")
    if name not in FAULT_DESCRIPTIONS:
        return NO_FAULT
    return Fault(name, _parse_seconds(parameter, _DEFAULT_SLOW_START_SECONDS))


def simulated_seconds(meta: ObjectMeta, default: float) -> float:
    """Time that a pod runs before it succeeds, by its annotation; else `default`."""
    return _parse_seconds(meta.annotations.get(SECONDS_ANNOTATION, ""), default)


def _parse_seconds(text: str, default: float) -> float:
    try:
        value = float(text)
    except ValueError:
        return default
    return value if 0 <= value < math.inf else default
