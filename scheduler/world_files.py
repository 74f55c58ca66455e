"""Names of the files in the data directory that more than one command knows."""

KUBECONFIG = "kubeconfig"
"""How to reach the hub, mode 0600."""
HUB_KEY = "hub.key"
"""The hub's signing key, mode 0600."""
HUB_PUBLIC_KEY = "hub.pub"
"""Its public half, `ed25519:BASE64`, for agents' settings."""
