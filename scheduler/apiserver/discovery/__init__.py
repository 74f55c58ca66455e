"""The groups, versions and resources of the server: discovery and OpenAPI documents.

Knows `auth`, `kinds` and `base`.
Start with `discovery.py`.
"""
