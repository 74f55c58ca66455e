"""The agent's settings: their types, and how they are read from a YAML file and the environment.

Knows `protocol` only. `configs/agent.yaml` explains every setting.
Start with `settings.py`.
"""
