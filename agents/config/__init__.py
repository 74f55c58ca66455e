"""The agent's settings: their types, and how a YAML file and the environment become them.

Knows nothing else of ours. `configs/agent.yaml` explains every setting.
Start with `settings.py`.
"""
