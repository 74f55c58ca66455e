"""`kapok demo`: a small city on this machine, with the real programs and nothing played but nodes.

samples   what is to be run: objects of manifests/samples, clusters of configs/demo.yaml
folder    the demo's folder: settings, kubeconfig, logs, who is silenced
children  real processes that end with us, and are started again when they die
town      the order of things: members, scheduler, agents, objects
picture   what the hub says now, as one value; when it counts as settled
audit     looks for broken rules, by other code than the engine's
export    everything as files, for a checker that shares no code
view      for people: lines, or a live table on a terminal
poke      makes something happen to a demo that runs
"""
