"""Requests and errors: from an HTTP request to what is meant, and the `Status` objects of failures.

Knows nothing else of the server.
Start with `requests.py`.
"""
