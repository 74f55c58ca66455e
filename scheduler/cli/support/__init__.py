"""What several commands share: arguments, input files, access to the hub, output, signals.

No module here is a command; each is named by its topic. They may know what commands may know.
Start with `arguments.py`: exit codes and the options that mean the same in every command.
"""
