"""What a production broker needs: its settings, and probes of one that others run.

Start with `requirements.py`, the list of what Kapok needs; `mosquitto_files.py` writes the settings
of mosquitto, and `probe_client.py` holds a session of a probe. Of ours it knows only the names and
bounds of `agents.protocol`. It judges brokers; the session of the scheduler is beside it.
"""
