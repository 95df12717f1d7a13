"""The step of a child: its rows are sent, counted and listed."""

from __future__ import annotations

from tests.support.jobs import JobRunner, rows_of_tokens, sent_once
from tests.support.provider import Provider


def test_each_row_of_a_file_is_sent_to_once_and_counted(
    jobs: JobRunner, provider: Provider
) -> None:
    tokens = [f"token-{n}" for n in range(2_500)]
    jobs.upload(rows_of_tokens(tokens))

    children = jobs.run()

    assert len(children) == 3
    assert sent_once(tokens, provider.tokens)
    assert jobs.summary() == {"accepted": 2_500, "rows": 2_500}
    assert jobs.item()["rows"] == 2_500
    assert jobs.lines() == []
