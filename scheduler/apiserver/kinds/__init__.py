"""The properties of each kind: schema, defaults, checks, columns, scale.

Knows `base` and `hub.schema`. `core/` has the built-in kinds, `custom/` CustomResourceDefinitions.
Start with `resources.py`; `admission.py` has the steps that every write takes.
"""
