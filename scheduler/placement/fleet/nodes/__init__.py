"""What the node rows of all sites share: the columns of resources, and the profiles of nodes.

A column exists once a demand names a resource that some site offers, a profile as long as some site
has such nodes. So no report makes the fleet grow. Knows `model`, and how rows are stored.
Start with `columns.py`: which resources have a column.
"""
