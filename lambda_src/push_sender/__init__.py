"""Push Sender: one JSON request in, an honest outcome for every token out.

A request flows one way::

    entry point -> request -> batches -> delivery -> outcomes -> report -> entry point

``handler`` chooses the entry point by the event's shape. ``entry_points`` read requests out
of events and write answers. The other rooms know nothing of entry points, Lambda or events of
AWS; ``sender`` puts them together. A test holds which room imports which.
"""

import gc
import os

__version__ = "1.0.0rc1"
"""The only place of the version. The log, the inbox, `make help` and releases read it."""

if "AWS_LAMBDA_INITIALIZATION_TYPE" in os.environ:
    # Next to nothing of what is made here ever becomes garbage in cycles (three objects a
    # push), so looking for it can wait: with Python's 2,000 new objects it takes a twelfth of
    # a cold start and a twentieth of a request to 5,000 (docs/performance.md).
    gc.set_threshold(50_000)
