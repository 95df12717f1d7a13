"""The test that nothing is lost and nothing is sent twice, under failures: ``make soak``.

``plan`` has the requests, and ``callers`` sends them through every entry point of a deployed
sandbox. ``faults`` chooses what fails; ``provider``, ``services`` and ``queues`` make it fail.
``registrar`` registers, moves and deletes the ``phones`` of users meanwhile, and ``ownership``
knows whose they were at which time. ``ledger`` records what each side saw, and ``verdict``
compares that with the table of outcomes in docs/reference/outcomes.md. The function imports
nothing from here.
"""
