"""Faults on request: annotations on a Node, or on a pod (through its workload's template).

`kapok.dev/simulate-fault` is one of the names below; `slow-start=SECONDS` sets how slow.
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
    NOT_READY: "Node: its kubelet falls silent; Ready=Unknown, taints, pods are evicted after "
    "their toleration (300 s unless they say otherwise)",
    CRASH_LOOP: "Node or pod: containers exit and wait in CrashLoopBackOff; a Job's pod fails",
    SLOW_START: "Node or pod: 30 s until Ready, or slow-start=SECONDS",
    DRAIN: "Node: cordoned, and its pods are evicted (DaemonSet pods stay)",
}
"""Every fault and what it does; `kapok simulate-cluster --help` shows this."""

_DEFAULT_SLOW_START_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault with its parameter.

    Attributes:
        name: one of `FAULT_DESCRIPTIONS`, or "" for none.
        seconds: of `slow-start`.
    """

    name: str = ""
    seconds: float = _DEFAULT_SLOW_START_SECONDS


NO_FAULT = Fault()


def fault_of(meta: ObjectMeta) -> Fault:
    """The fault that an object's annotation asks for; an unknown name asks for none."""
    name, _, parameter = meta.annotations.get(FAULT_ANNOTATION, "").partition("=")
    if name not in FAULT_DESCRIPTIONS:
        return NO_FAULT
    return Fault(name, _parse_seconds(parameter, _DEFAULT_SLOW_START_SECONDS))


def simulated_seconds(meta: ObjectMeta, default: float) -> float:
    """How long a pod runs before it succeeds; `default` where it was not said."""
    return _parse_seconds(meta.annotations.get(SECONDS_ANNOTATION, ""), default)


def _parse_seconds(text: str, default: float) -> float:
    try:
        value = float(text)
    except ValueError:
        return default
    return value if 0 <= value < math.inf else default
