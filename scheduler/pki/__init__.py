"""Kapok's own certificate authority: its certificate, those that it issues, what it revokes.

It knows files and cryptography only; time is an input. Start with `authority.py`.
`certificate_request.py` reads what a machine asks for, `files.py` keeps keys and certificates.
"""
