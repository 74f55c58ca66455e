"""What a decision says of a rollout in its line. Pure."""

from msgspec.structs import replace

from scheduler.model.decision import Decision, RolloutStep


def with_rollout(decision: Decision, step: RolloutStep | None) -> Decision:
    """The decision with the step of a rollout, which its line names."""
    if step is None:
        return decision
    return replace(decision, rollout=step, line=decision.line + format_step(step))


def format_step(step: RolloutStep) -> str:
    """A step of a rollout, to follow the rest of a line."""
    why = f": {step.because}" if step.because else ""
    if step.phase == "Complete":
        return f"; rollout complete{why}"
    if step.phase == "RolledBack":
        return f"; rolled back to the former content{why}"
    at = f"{step.group} ({step.released} of {step.groups})" if step.released else "no group"
    if step.phase == "Paused":
        return f"; rollout paused at {at}{why}"
    waits = f"; {step.waits_for}" if step.waits_for else ""
    return f"; rollout at {at}{why}{waits}"
