"""How a broken right is told in an event. Pure."""

from scheduler.model.decision import Decision
from scheduler.model.kinds.rights import OnViolation

_TREATMENTS: dict[OnViolation, str] = {
    "Report": "what runs there stays",
    "Move": "it is replaced elsewhere first, and stays until that runs",
    "Stop": "it ends there at once",
}


def format_violations(decision: Decision, treatment: OnViolation) -> str:
    """One line: where which right is broken, and what the authority has said to do."""
    told = ", ".join(f"{site}: {why}" for site, why in sorted(decision.violations.items()))
    return f"breaks a right at {told}; onViolation {treatment}: {_TREATMENTS[treatment]}"
