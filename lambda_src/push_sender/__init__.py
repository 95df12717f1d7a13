"""Push Sender: one JSON request in, an honest outcome for every token out.

A request flows one way::

    door -> request -> batches -> delivery -> outcomes -> report -> door

``handler`` is the entry, ``doors`` translate what a caller hands in, and the
rest is the core, which knows nothing of doors, Lambda or AWS events.
"""

import gc
import os

if "AWS_LAMBDA_INITIALIZATION_TYPE" in os.environ:
    # Next to nothing of what is made here ever becomes garbage in cycles (three objects a
    # push), so looking for it can wait: with Python's 2,000 new objects it takes a twelfth of
    # a cold start and a twentieth of a request to 5,000 (docs/performance.md).
    gc.set_threshold(50_000)
