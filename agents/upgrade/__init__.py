"""The archive for machines without network: how it is built, installed, and replaces a version.

`build.py` makes it where there is a network, and `install.sh` is in it. Start with `replace.py`,
which puts it in place of the version that runs. It knows settings, journal, keys of the hub and the
systemd unit; nothing knows it.
"""
