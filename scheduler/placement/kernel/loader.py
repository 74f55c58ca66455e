"""The compiled kernel, if it was built and has the interface that this code calls.

    add = compiled.kernel.sum_terms if fleet.is_compiled else _sum_terms  # the same bytes, slower

A fleet uses the kernel if `IS_COMPILED` is true, unless it is created with `may_compile=False`.
This is the only module that imports the kernel. A kernel with another interface (built from another
version of the source) is not used; `FALLBACK_REASON` says so.
"""

INTERFACE = 16
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
"""`IS_ABSENT`: no kernel was built. `FALLBACK_REASON`: why the kernel is not used, in words; empty
when it is."""

IS_COMPILED = not FALLBACK_REASON
"""Whether `kernel` may be called. Decisions are the same without it."""

MODE = "compiled" if IS_COMPILED else "interpreted"
"""The mode, as `kapok version` and the metrics show it."""

MODE_SENTENCE = f"decisions run {MODE}" + (
    FALLBACK_REASON and f", slower and with the same answers: {FALLBACK_REASON}"
)
"""The mode as a sentence for logs."""
