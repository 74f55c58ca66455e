"""The push process of `kapok up`: started beside the embedded hub, and its keys admitted.

The process is `kapok-agent push`, of which this package knows the command line and the files alone.
Start with `child.py`, which runs it; `keys.py` writes its public keys into Sites of mode Push.
"""
