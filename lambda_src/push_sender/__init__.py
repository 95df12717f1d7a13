"""Push Sender: it takes one JSON request and reports an honest outcome for every token.

A request passes through the folders one way::

    entry point -> request -> batches -> delivery -> outcomes -> report -> entry point

``handler`` chooses the entry point by the event's shape. ``entry_points`` read requests from
events and write responses. The other folders know nothing of entry points, Lambda or AWS
events; ``sender`` puts them together. A test checks which folder imports which.
"""

import gc
import os

__version__ = "1.0.0rc2"
"""The only place of the version. The log, the inbox, `make help` and releases read it."""

if "AWS_LAMBDA_INITIALIZATION_TYPE" in os.environ:
    # A push leaves only three objects that need the cycle collector, so it can run less often.
    # At Python's default of 2,000 new objects it takes a twelfth of a cold start and a
    # twentieth of a request to 5,000 recipients (docs/performance.md).
    gc.set_threshold(50_000)
