"""CustomResourceDefinitions: checked as the real server checks them, then served.

Knows the modules of `kinds` beside it, and `hub.schema`.
Start with `definitions.py`.
"""
