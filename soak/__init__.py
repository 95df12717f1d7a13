"""The test that nothing is lost and nothing is sent twice, under failures: ``make soak``.

``plan`` has the requests, and ``callers`` sends them through every entry point of a deployed
sandbox. ``job_plan`` has the files of jobs, and ``jobs`` starts, stops and redrives these.
``faults`` chooses what fails; ``provider``, ``services`` and ``queues`` make it fail.
``registrar`` registers, moves and deletes the ``phones`` of users meanwhile, and ``ownership``
knows whose they were at which time. ``ledger`` records what each side saw, and ``verdict``
compares that with the table of outcomes in docs/reference/outcomes.md; ``job_verdict`` compares
the counts, the lists of rows and the reports of jobs with it. The function imports
nothing from here.
"""
