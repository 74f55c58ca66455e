"""Joining: invitations, certificates of sites, the HTTPS server that hands them out, revocation.

It knows the hub, the authority of `scheduler.pki` and the messages of `agents.protocol.joining`.
Start with `admission.py`, which decides who may join; `endpoint.py` serves it.
"""
