"""The hub's signing keys in the data directory: the present one, the next, the one before.

It knows the keys of the protocol and files; `announcer.py` also sends. Start with `key_files.py`.
"""
