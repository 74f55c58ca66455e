"""The built-in kinds of the server: pods, deployments, jobs, namespaces and so on.

Knows the modules of `kinds`.
Start with `core_kinds.py`; the JSON files are written by `build_schemas.py` and `build_fields.py`.
"""
