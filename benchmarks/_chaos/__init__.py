"""A simulated day of a hub, its sites and its schedulers, in one process and by one seed.

- `clock`, `hub`, `broker`, `ledger`: what a scheduler stands on, in memory, with faults on order;
- `site`: a site at the level of messages, with nodes, pods and a disk of its own;
- `world`: all of them together, and the schedulers that are started and killed;
- `story`: the events of a seed, as plain data;
- `promises`, `placement_promises`, `record_promises`: the checker. It shares no code with the
  scheduler and reads only what is exported: objects, writes, reports, orders, records;
- `shrink`: the shortest story that still shows a violation.
"""
