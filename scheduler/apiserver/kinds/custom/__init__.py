"""CustomResourceDefinitions: validation as on the real server, and the resources they define.

Knows the modules of `kinds`, and `hub.schema`.
Start with `definitions.py`.
"""
