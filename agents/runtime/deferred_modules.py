"""Loads a module of the standard library at its first use instead of at its import.

paho imports `urllib.request`, and with it an HTTP client and the parsers of e-mail: 2.5 MiB, for a
proxy library that no agent has. An edge node has little memory.
"""

import importlib
import importlib.util
import sys
from types import ModuleType
from typing import Any


class DeferredModule(ModuleType):
    """Stands for a module until one of its names is looked up.

    `importlib.util.LazyLoader` does not serve: until Python 3.12 another `import` of the module
    loads it, because that looks up its `__spec__`.
    """

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the module holds
        """A name of the module, which is loaded for it; called for names that are not here."""
        own = self.__name__
        if sys.modules.get(own) is self:
            del sys.modules[own]
        return getattr(importlib.import_module(own), name)


def defer_module(name: str) -> DeferredModule | None:
    """Has a module of a package loaded when one of its names is looked up first.

    Args:
        name: its full name, such as `urllib.request`.

    Returns:
        What stands for it; None: it is loaded already, or there is none.
    """
    spec = importlib.util.find_spec(name) if name not in sys.modules else None
    if spec is None:
        return None
    module = DeferredModule(name)
    module.__spec__ = spec
    sys.modules[name] = module
    # `import a.b` finds it in `sys.modules`, and then does not make it an attribute of `a` itself.
    parent, _, last = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], last, module)
    return module
