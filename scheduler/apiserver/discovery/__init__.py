"""Which groups, versions and resources the server has: discovery and OpenAPI documents.

Knows `kinds` and `base`.
Start with `discovery.py`.
"""
