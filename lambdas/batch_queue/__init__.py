"""A queue for Amazon Bedrock batch inference: uploads in, one result beside each, as fast as quota allows.

``core``: pure, standard library only. ``aws``: adapters, one for each service; they import ``core``, never
each other. ``steps``: the ten steps, over the adapters that a ``Queue`` holds.
"""
