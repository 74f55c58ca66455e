"""The compiled kernel, where it is there and is the one that this code wants.

    if compiled.IS_COMPILED:
        return compiled.kernel.room(...)
    return room_with_numpy(...)           # the same bytes, slower

This is the only module that imports it. A kernel of another interface (built from older source, or
for another version) counts as absent, and `WHY_INTERPRETED` says so.
"""

INTERFACE = 6
"""The kernel's `INTERFACE` that this code calls."""

try:
    from scheduler.placement import kernel as kernel  # noqa: PLC0414 - passed on
except ImportError as error:
    IS_ABSENT = not (error.path or "").endswith(".so")
    WHY_INTERPRETED = "no kernel was built" if IS_ABSENT else f"the kernel does not load: {error}"
else:
    IS_ABSENT = False
    _found = getattr(kernel, "INTERFACE", None)
    WHY_INTERPRETED = (
        f"the kernel is of another version: interface {_found}, wanted {INTERFACE}"
        if _found != INTERFACE
        else ""
    )
"""Why decisions run interpreted; empty when they are compiled."""

IS_COMPILED = not WHY_INTERPRETED
"""Whether `kernel` may be called. Decisions are the same either way."""

WORD = "compiled" if IS_COMPILED else "interpreted"
"""What users see."""

SENTENCE = f"decisions run {WORD}" + (
    WHY_INTERPRETED and f", slower and with the same answers: {WHY_INTERPRETED}"
)
"""For logs."""
