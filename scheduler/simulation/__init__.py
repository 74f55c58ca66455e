"""Stand-ins for what Kapok does not own: member clusters' controllers, and months of real pods.

`cluster` plays the controllers, the binder and the kubelets of member clusters as an ordinary API
client, so that tests and the demo run on any Kubernetes API. `trace` runs a recorded list of pods
through the placement code, against other ways to choose.
"""
