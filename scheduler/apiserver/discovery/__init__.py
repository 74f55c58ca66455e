"""Which groups, versions and resources the server has: discovery and OpenAPI documents.

Knows `auth`, `kinds` and `base`.
Start with `discovery.py`.
"""
