"""The proof that nothing is lost and nothing doubled: requests, faults, and a ledger of both.

``plan`` says what is asked for, ``faults`` what goes wrong; ``provider``, ``services`` and
``lapse`` make it happen around a deployed sandbox; ``callers`` asks at every door as its
callers do. ``ledger`` writes down what each side saw, and ``verdict`` holds it against the
outcomes' table of docs/reference/outcomes.md. Nothing here is imported by what it tests.
"""
