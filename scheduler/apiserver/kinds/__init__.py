"""What the server knows of each kind: schema, defaults, checks, columns, scale.

Knows `base` and `hub.schema`. `core/` has the built-in kinds, `custom/` CustomResourceDefinitions.
Start with `resources.py`; `admission.py` is what every write goes through.
"""
