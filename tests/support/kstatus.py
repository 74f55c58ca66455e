"""The rules by which kstatus computes the status of any kind; they share no code with Kapok.

Those of sigs.k8s.io/cli-utils/pkg/kstatus/status (core.go, generic.go), in the same order.
"""

from collections.abc import Mapping
from typing import Any


def kstatus_of(body: Mapping[str, Any]) -> str:
    """Current, InProgress, Failed or Terminating."""
    metadata, status = body["metadata"], body.get("status") or {}
    if metadata.get("deletionTimestamp"):
        return "Terminating"
    observed = status.get("observedGeneration")
    if observed is not None and metadata.get("generation", observed) != observed:
        return "InProgress"
    found = {one["type"]: one["status"] for one in status.get("conditions") or ()}
    if found.get("Reconciling") == "True":
        return "InProgress"
    if found.get("Stalled") == "True":
        return "Failed"
    if "Ready" in found:
        return "Current" if found["Ready"] == "True" else "InProgress"
    return "Current"
