"""`lazy`: an attribute computed at first use, as `functools.cached_property` without a lock.

Until CPython 3.12 `cached_property` takes a lock at the first use on each object, which costs a
decision more than most of what it guards. A value of the model is used by one thread.
"""

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    lazy = cached_property
else:

    class lazy:  # noqa: N801 - used as a decorator, like `property`
        """Computes an attribute at first use, and keeps it in the object's `__dict__`."""

        def __init__(self, compute: Callable[[Any], Any]) -> None:
            self._compute = compute
            self._name = compute.__name__
            self.__doc__ = compute.__doc__

        def __get__(self, owner: Any, owner_type: type | None = None) -> Any:  # noqa: ANN401
            if owner is None:
                return self
            # The instance's own entry is found before this method from now on.
            found = owner.__dict__[self._name] = self._compute(owner)
            return found
