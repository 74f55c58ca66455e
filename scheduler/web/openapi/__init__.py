"""The OpenAPI 3.1 document of the HTTP API, at /openapi.json.

Knows nothing of the handlers: a test compares its routes with those of the server, and real answers
with its schemas. Start with `routes.py`, where each route is one entry.
"""
