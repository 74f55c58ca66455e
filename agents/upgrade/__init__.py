"""The archive for machines without network: how it is built, installed, and replaces a version.

`build.py` makes it at a machine with network, `install.sh` is in it, and `kapok-agent upgrade` puts
it in place of the version that runs.
"""
