"""The decision: pure, exact, fast, explained.

Everything that can influence a decision is in the demand, the facts of the fleet, `now`, the terms
and `ENGINE_VERSION`: a record of these decides again byte for byte (`decision_bytes`).
Knows `model` and `energy` only. Start with `choose.py`: the whole decision in five named steps.

    fleet/    what is known of all sites, as arrays          filter/   may it run there? hard rules
    fit/      how many replicas a site really takes          cost/     what a replica costs there
    divide/   who gets how many replicas                     batch/    many workloads at once
    queue/    which workload is decided next                 explain/  every verdict, every cost
    kernel/   the same arithmetic, compiled                  solver/   linear and integer programs
"""
