"""Which sites have the new content of a rollout, and when the next group gets it; pure.

Start with `advance.py`.
"""
