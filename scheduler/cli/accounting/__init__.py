"""What `kapok carbon report` is made of: months of a time zone, rows, and the command itself.

The figures are computed in `scheduler.energy.accounts`; here they get the forms that they are
printed in. Start with `report_command.py`.
"""
