"""What is served over HTTP: /metrics, /healthz, /readyz."""
