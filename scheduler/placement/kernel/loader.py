"""The compiled kernel, where it is there and is the one that this code wants.

    add = compiled.kernel.added if fleet.is_compiled else _added  # the same bytes, slower

A fleet is compiled where `IS_COMPILED` is true, unless its maker does without. This is the only
module that imports the kernel. One of another interface (built from older source, or for another
version) is not used, and `FALLBACK_REASON` says so.
"""

INTERFACE = 7
"""The kernel's `INTERFACE` that this code calls."""

try:
    from scheduler.placement.kernel import kernel as kernel  # noqa: PLC0414 - passed on
except ImportError as error:
    IS_ABSENT = not (error.path or "").endswith(".so")
    FALLBACK_REASON = "no kernel was built" if IS_ABSENT else f"the kernel does not load: {error}"
else:
    IS_ABSENT = False
    _found = getattr(kernel, "INTERFACE", None)
    FALLBACK_REASON = (
        f"the kernel is of another version: interface {_found}, wanted {INTERFACE}"
        if _found != INTERFACE
        else ""
    )
"""`IS_ABSENT`: no kernel was built. `FALLBACK_REASON`: in words, also when one is there that cannot
be used; empty when decisions run compiled."""

IS_COMPILED = not FALLBACK_REASON
"""Whether `kernel` may be called. Decisions are the same either way."""

MODE = "compiled" if IS_COMPILED else "interpreted"
"""What users see."""

MODE_SENTENCE = f"decisions run {MODE}" + (
    FALLBACK_REASON and f", slower and with the same answers: {FALLBACK_REASON}"
)
"""For logs."""
