"""Step 2, fit: how many replicas a site really takes, node by node.

Knows `fleet`. One shape of pod is exact; sets of different pods are exact or a lower bound.
Start with `capacity.py`; `topology_spread.py` and `pod_sets.py` cover the harder shapes.
"""
