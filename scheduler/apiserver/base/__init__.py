"""Parsing of requests, and the errors that become `Status` objects.

Knows no other room of the server.
Start with `requests.py`.
"""
