"""The compiled kernel, where it is there and is the one that this code wants.

    if compiled.IS_COMPILED:
        return compiled.kernel.room(...)
    return room_with_numpy(...)           # the same bytes, slower

This is the only module that imports it. A kernel of another interface (built from older source, or
for another version) counts as absent, and `WHY_INTERPRETED` says so.
"""

INTERFACE = 1
"""The kernel's `INTERFACE` that this code calls."""

try:
    from scheduler.placement import kernel
except ImportError as error:
    _is_broken = error.name == f"{__package__}.kernel"
    WHY_INTERPRETED = f"the kernel does not load: {error}" if _is_broken else "no kernel was built"
else:
    _found = getattr(kernel, "INTERFACE", None)
    WHY_INTERPRETED = (
        f"the kernel is not of this version: interface {_found}, wanted {INTERFACE}"
        if _found != INTERFACE
        else ""
    )
"""Why decisions run interpreted; empty when they are compiled."""

IS_COMPILED = not WHY_INTERPRETED
"""Whether `kernel` may be called. Decisions are the same either way."""

WORD = "compiled" if IS_COMPILED else "interpreted"
"""What users see."""
