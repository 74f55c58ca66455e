"""Which replicas failover replaces, and in which order; and how they move back. Pure.

Start with `plan.py`. Where the replicas go is decided by `choose`, as for all other work: the sites
that a workload is to leave are `Demand.evicted`. `unready.py` plans the same for single replicas
that are not ready at a site that reports: `Demand.unready`.
"""
