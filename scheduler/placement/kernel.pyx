# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""What of a decision is compiled; `compiled.py` says whether it may be used.

Every function has a twin in NumPy that gives the same bytes: no operation is reordered, fused or
done in another precision (build_kernel.py has the flags). No NumPy at C level: memoryviews only.
"""

INTERFACE: int = 1
"""Raised with every change of a signature or of what a function means; compiled.py compares it."""
