"""What programs need of the machine: clock, data directory, packaged files, child processes.

Imports nothing of ours, so that every other package may use it.
Start with `clock.py`: time is an input everywhere, and this is the only module that reads it.
"""
