"""How agents learn new signing keys of the hub: a set that an old key or the root vouches for.

It knows keys, the codec and the bounds only. Start with `key_set.py`.
"""
