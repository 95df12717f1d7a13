"""The smoke test of a deployed stack: ``make smoke``.

``run`` is the order of the test. ``checks`` has a row for each entry point, ``assumptions`` one
for each thing that the documents assume about AWS. A check that fails fails the test; an
assumption that turns out wrong only appears in its output.
"""
