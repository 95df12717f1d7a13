"""Push Sender: one JSON request in, an honest outcome for every token out.

A request flows one way::

    door -> request -> batches -> delivery -> outcomes -> report -> door

``handler`` is the entry, ``doors`` translate what a caller hands in, and the
rest is the core, which knows nothing of doors, Lambda or AWS events.
"""
