"""`kapok demo`: a small city on this machine, with the real programs and simulated nodes.

samples      what a demo runs: objects of manifests/samples, clusters of configs/demo.yaml
distance     modelled round trips between sites
folder       the demo's folder: settings, kubeconfigs, logs, actions
children     child processes, restarted when they die, ended with this process
environment  starts member clusters, scheduler and agents, and applies the objects
demo_status  the state of all sites and workloads, and when it counts as settled
audit        finds violated rules, with other code than the scheduler's
export       writes everything as files, for a checker that shares no code with Kapok
view         shows progress: lines, or a live table on a terminal
actions      what `kapok demo poke` asks of a running demo, as a file
poke         the command `kapok demo poke`
run          one demo from start to end

The package may know everything except the other commands. Start with `run.py`.
"""
