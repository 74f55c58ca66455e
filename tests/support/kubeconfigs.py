"""Kubeconfigs as Secrets of a hub hold them."""

from typing import Any

TOKEN = "token-that-no-message-may-show"  # noqa: S105 - a test's


def kubeconfig(
    *, cluster: dict[str, Any] | None = None, user: dict[str, Any] | None = None
) -> dict[str, Any]:
    """A kubeconfig with a token; `cluster` and `user` add or replace fields."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "m1",
        "contexts": [{"name": "m1", "context": {"cluster": "m1", "user": "m1"}}],
        "clusters": [
            {"name": "m1", "cluster": {"server": "https://m1.example.org:6443"} | (cluster or {})}
        ],
        "users": [{"name": "m1", "user": {"token": TOKEN} | (user or {})}],
    }
