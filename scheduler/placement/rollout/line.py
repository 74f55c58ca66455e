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
    waits = f"; {step.waits_for}" if step.waits_for else ""
    if not step.released:  # no group has it: it was held, or there is no room
        return f"; rollout paused{why}" if step.phase == "Paused" else waits
    at = f"at {step.group} ({step.released} of {step.groups})"
    if step.phase == "Paused":
        return f"; rollout paused {at}{why}"
    return f"; rollout {at}{why}{waits}"
