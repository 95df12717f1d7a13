"""The import of devices: rows of a job's file become registrations."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from typing import Any

import botocore.session
import pytest
from botocore.config import Config

from push_sender.devices.registration import Registration
from push_sender.jobs.errors import JobStoreUnavailable, OutOfTime, SourceChanged
from push_sender.jobs.files import RowIndex, layout_of
from push_sender.request.errors import InvalidRequest, RegistryUnavailable
from tests.support.devices import IOS, MOST_DEVICES, Registry, check_invariants, values_of
from tests.support.dynamodb import Table, refusing
from tests.support.invocation import OTHER_PROJECT, PROJECT, log_lines, metric_lines
from tests.support.provider import Json

EXPORT = """\
ChannelType,Address,Id,OptOut,EndpointStatus,User.UserId,Demographic.Locale,\
Demographic.Timezone,Demographic.AppVersion,Attributes.team,Attributes.team,EffectiveDate
APNS,token-1,d-1,NONE,ACTIVE,u-1,en_US,Europe/Berlin,7.1,red,blue,2026-01-01T00:00:00Z
GCM,token-2,d-2,ALL,ACTIVE,u-1,de,Mars/Base,,,,
EMAIL,someone@example.com,d-3,NONE,ACTIVE,u-2,,,,,,
GCM,token-4,d-4,NONE,INACTIVE,u-2,,,,,,
GCM,a token,d-5,NONE,ACTIVE,u-2,,,,,,
GCM,token-6,a device,NONE,ACTIVE,u-2,,,,,,
GCM,token-7,d-7,NONE,ACTIVE,a user,,,,,,
BAIDU,token-8,d-8,NONE,ACTIVE,,,,,,,
"""
ROWS = "\n".join(f"token-{number},GCM,d-{number},u-{number % 7}" for number in range(20))
MANY = f"token,service,device_id,user_id\n{ROWS}\n"


class Imports:
    """A bucket, and imports of its files as Step Functions makes them."""

    def __init__(self, s3: Any, registry: Registry, table: Table) -> None:
        self.bucket = f"bucket-{uuid.uuid4().hex}"
        self.registry = registry
        self.table = table
        self._s3 = s3
        s3.create_bucket(Bucket=self.bucket)

    def upload(self, text: str) -> str:
        """Put the file; give its ETag."""
        answer = self._s3.put_object(Bucket=self.bucket, Key="uploads/a.csv", Body=text.encode())
        return str(answer["ETag"])

    def event(self, text: str, **changes: Any) -> Json:
        """Put a file of one range, and make the event of its child."""
        data = text.encode()
        layout = layout_of(data, "csv", is_whole=True)
        index = RowIndex(layout, layout.start, 1)
        (part,) = index.feed(data[layout.start :]) + index.finish()
        source = {
            "bucket": self.bucket,
            "key": "uploads/a.csv",
            "etag": self.upload(text),
            "format": "csv",
            "delimiter": layout.delimiter,
            "columns": list(layout.columns),
        }
        plan = {
            "job": "spring",
            "action": "register_devices",
            "application_id": PROJECT,
            "source": source,
            "request": None,
            "tokens_per_second": 500,
            "children": 5,
            "dry_run": False,
            "ignore_opt_out": False,
            "results_prefix": "jobs/spring/map",
        }
        return {
            "job_step": "rows",
            "bucket": self.bucket,
            "plan": {**plan, **changes},
            "range": {"start": part.start, "end": part.end, "first_row": part.first_row, "wait": 0},
        }

    def run(self, text: str, **changes: Any) -> Json:
        """Import a file; give the counts of its only child."""
        self.invoke(self.event(text, **changes))
        return self.counts

    def invoke(self, event: Json, seconds: float = 29) -> Any:
        return self.registry.invoke(event, seconds)

    @property
    def counts(self) -> Json:
        """The counts of the job, zeros left out."""
        (item,) = [item for item in self.table.items if item["id"]["S"] == "J#spring"]
        counts = {
            name.removeprefix("count_"): int(value["N"])
            for name, value in item.items()
            if name.startswith("count_")
        }
        return {name: count for name, count in counts.items() if count}

    @property
    def listed(self) -> list[Json]:
        """The lines of the list of rows."""
        key = "jobs/spring/rows/000000000001.jsonl"
        body = self._s3.get_object(Bucket=self.bucket, Key=key)["Body"].read()
        return [json.loads(line) for line in body.splitlines()]


@pytest.fixture
def imports(
    table: Table, registry: Registry, _dynamodb: Any, monkeypatch: pytest.MonkeyPatch
) -> Imports:
    url = _dynamodb.meta.endpoint_url
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", url)
    s3 = botocore.session.Session().create_client(
        "s3",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="any",
        aws_secret_access_key="any",
        config=Config(s3={"addressing_style": "path"}),
    )
    return Imports(s3, registry, table)


def test_an_export_of_pinpoint_is_imported_as_it_is(imports: Imports) -> None:
    counts = imports.run(EXPORT)

    assert counts == {
        "rows": 8, "registered": 3, "skipped": 2, "invalid_row": 3, "warnings": 1,
    }  # fmt: skip
    device = imports.registry.get("d-1").body
    assert {name: device[name] for name in Registration.model_fields} == {
        "token": "token-1",
        "service": "APNS",
        "user_id": "u-1",
        "language": "en-US",
        "time_zone": "Europe/Berlin",
        "app_version": "7.1",
        "tags": [],
        "attributes": {"team": "red, blue"},
        "opted_out": False,
    }
    assert imports.registry.get("d-2").body["opted_out"] is True
    assert imports.registry.of_user("u-1") == ["d-1", "d-2"]
    check_invariants(imports.registry.table.items)


def test_the_list_names_each_row_that_was_not_taken_or_not_taken_whole(imports: Imports) -> None:
    imports.run(EXPORT)

    members = ("row", "token", "device_id", "outcome", "reason", "left_out")
    assert [tuple(line.get(name) for name in members) for line in imports.listed] == [
        (2, "token-2", "d-2", "registered", None, ["time_zone"]),
        (3, "someone@example.com", None, "skipped", "no_push_channel", None),
        (4, "token-4", None, "skipped", "inactive", None),
        (5, "a token", None, "invalid_row", "invalid_token", None),
        (6, "token-6", None, "invalid_row", "invalid_device_id", None),
        (7, "token-7", None, "invalid_row", "invalid_user_id", None),
    ]


def test_an_opt_out_can_be_ignored(imports: Imports) -> None:
    imports.run(EXPORT, ignore_opt_out=True)

    assert imports.registry.get("d-2").body["opted_out"] is False


def test_a_second_run_changes_nothing(imports: Imports) -> None:
    imports.run(EXPORT)
    before, counts, listed = imports.registry.table.items, imports.counts, imports.listed

    assert imports.run(EXPORT) == counts
    assert (imports.registry.table.items, imports.listed) == (before, listed)


def test_another_job_with_the_same_file_changes_nothing(imports: Imports) -> None:
    event = imports.event(EXPORT)
    event["plan"]["job"] = "autumn"
    imports.invoke(event)
    before = imports.registry.table.items

    counts = imports.run(EXPORT)

    assert counts == {"rows": 8, "known": 3, "skipped": 2, "invalid_row": 3}
    assert imports.registry.table.items == before
    assert [line["reason"] for line in imports.listed if line["outcome"] == "known"] == [
        "device_known"
    ] * 3


@pytest.mark.parametrize(
    ("device_id", "body", "reason"),
    [
        ("d-1", {"token": "newer-token", "service": "APNS", "user_id": "u-9"}, "device_known"),
        ("d-9", {"token": "token-1", "service": "APNS", "user_id": "u-9"}, "token_known"),
    ],
)
def test_what_an_app_registered_since_stays_as_it_is(
    imports: Imports, device_id: str, body: Json, reason: str
) -> None:
    registered = imports.registry.put(device_id, body).body

    counts = imports.run(EXPORT)

    assert (counts["registered"], counts["known"]) == (2, 1)
    assert imports.registry.get(device_id).body == registered
    assert imports.listed[0]["reason"] == reason
    assert imports.registry.of_user("u-1") == ["d-2"]
    check_invariants(imports.registry.table.items)


def test_a_device_of_an_import_is_the_apps_when_it_registers(imports: Imports) -> None:
    imports.run(EXPORT)
    imports.registry.put("d-1", {"token": "token-1", "service": "APNS", "user_id": "u-9"})
    before = imports.registry.table.items

    counts = imports.run(EXPORT)

    assert (counts["registered"], counts["known"]) == (2, 1)
    assert imports.registry.table.items == before


def test_no_device_leaves_so_that_a_user_has_room(imports: Imports) -> None:
    for number in range(MOST_DEVICES - 1):
        imports.registry.put(f"app-{number}", {**IOS, "token": f"app-{number}", "user_id": "u-1"})

    counts = imports.run(EXPORT)

    assert (counts["registered"], counts["skipped"]) == (2, 3)
    assert len(imports.registry.of_user("u-1")) == MOST_DEVICES
    assert [line["reason"] for line in imports.listed].count("user_has_25_devices") == 1
    check_invariants(imports.registry.table.items)


def test_what_passes_the_limits_of_the_registry_is_left_out(imports: Imports) -> None:
    attributes = {f"a{number}": "x" for number in range(25)} | {"b" * 65: "x", "long": "y" * 257}
    names = ["token", "service", "device_id", *(f"attributes.{name}" for name in attributes)]
    values = ["token-1", "GCM", "d-1", *attributes.values()]
    more = {"language": "no language", "app_version": "7" * 65, "tags": "z" * 65}

    counts = imports.run(f"{','.join([*names, *more])}\n{','.join([*values, *more.values()])}\n")

    assert counts == {"rows": 1, "registered": 1, "warnings": 1}
    device = imports.registry.get("d-1").body
    assert device["attributes"] == {f"a{number}": "x" for number in range(20)}
    assert (device["language"], device["app_version"], device["tags"]) == (None, None, [])
    assert imports.listed[0]["left_out"] == ["attributes", *sorted(more)]


def refuse(imports: Imports, operation: str, text: str) -> None:
    """Refuse each call of an operation that has a text in it."""
    imports.registry.table.answer = lambda called, call, forward: (
        refusing(400, "AccessDeniedException")
        if called == operation and text in json.dumps(call)
        else forward()
    )


def test_an_import_that_fails_half_way_is_told_and_done_by_the_next_run(imports: Imports) -> None:
    event = imports.event(MANY)
    refuse(imports, "TransactWriteItems", "token-7")
    with pytest.raises(RegistryUnavailable, match="AccessDeniedException"):
        imports.invoke(event)
    first = imports.counts
    assert first["rows"] == 20
    assert 0 < first["failed"] < 20
    assert first["registered"] == 20 - first["failed"]
    listed = [line for line in imports.listed if line["reason"] == "AccessDeniedException"]
    assert len(listed) == first["failed"]

    imports.registry.table.recover()
    imports.invoke(event)

    assert imports.counts == {"rows": 20, "registered": 20}
    assert imports.listed == []
    check_invariants(imports.registry.table.items)


def test_an_import_that_is_killed_before_it_counts_is_counted_by_the_next_run(
    imports: Imports,
) -> None:
    event = imports.event(MANY)
    refuse(imports, "TransactWriteItems", "J#spring")
    with pytest.raises(JobStoreUnavailable):
        imports.invoke(event)
    before = imports.registry.table.items
    assert len([id_ for id_ in values_of(before) if id_.startswith("D#")]) == 20

    imports.registry.table.recover()
    imports.invoke(event)

    assert imports.counts == {"rows": 20, "registered": 20}
    assert imports.registry.table.items == before


def test_an_import_without_time_is_counted_and_repeated(imports: Imports) -> None:
    event = imports.event(MANY)

    with pytest.raises(OutOfTime):
        imports.invoke(event, seconds=8)

    assert imports.counts == {"rows": 20, "failed": 20}
    assert imports.registry.table.items == []


def test_a_row_costs_one_read_and_one_transaction(imports: Imports) -> None:
    imports.run(MANY.replace(",user_id", ",x"))

    operations = Counter(imports.registry.table.operations)
    assert operations == {"BatchGetItem": 20, "TransactWriteItems": 20 + 1}  # 1: the counts


def test_rows_that_are_known_cost_no_transaction(imports: Imports) -> None:
    event = imports.event(MANY)
    imports.invoke(event)
    del imports.registry.table.calls[:]

    imports.invoke(event)

    operations = Counter(imports.registry.table.operations)
    assert operations == {"BatchGetItem": 20 + 1, "TransactWriteItems": 1}  # 1: the counts


def test_a_dry_run_registers_nothing(imports: Imports) -> None:
    counts = imports.run(EXPORT, dry_run=True)

    assert counts == {"rows": 8, "unsent": 3, "skipped": 2, "invalid_row": 3}
    assert imports.registry.table.items == []


def test_a_changed_file_is_refused(imports: Imports) -> None:
    event = imports.event(EXPORT)
    imports.upload(EXPORT.replace("token-1", "token-9"))

    with pytest.raises(SourceChanged):
        imports.invoke(event)
    assert imports.registry.table.items == []


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"action": "send"}, "plan.action"),
        ({"application_id": "another"}, "application_id"),
        ({"job": "a/b"}, "job"),
    ],
)
def test_a_step_that_is_not_an_imports_is_refused(
    imports: Imports, changes: Json, path: str
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        imports.run(EXPORT, **changes)

    assert path in [finding.path for finding in refused.value.errors]
    assert imports.registry.table.items == []


def test_a_stack_without_jobs_refuses_the_steps_of_one(
    imports: Imports, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = imports.event(EXPORT)
    monkeypatch.delenv("IDEMPOTENCY_TABLE")

    with pytest.raises(InvalidRequest, match="no jobs"):
        imports.invoke(event)


def test_devices_belong_to_the_project_of_the_job(imports: Imports) -> None:
    imports.run(EXPORT, application_id=OTHER_PROJECT)

    assert imports.registry.get("d-1").status == 404
    assert imports.registry.get("d-1", project=OTHER_PROJECT).status == 200


def test_the_rest_of_the_slot_is_waited(imports: Imports) -> None:
    # 8 rows at 1 a second, less the time of the import.
    answer = imports.invoke(imports.event(EXPORT, tokens_per_second=1, children=1))

    assert answer.keys() == {"wait"}
    assert 0 <= answer["wait"] <= 8


def test_log_and_metrics_name_references_and_numbers_only(
    imports: Imports, capsys: pytest.CaptureFixture[str]
) -> None:
    imports.run(EXPORT)

    output = capsys.readouterr().out
    changes = [line for line in log_lines(output) if line["message"] == "registry changed"]
    assert [(line["change"], line["job"]) for line in changes] == [("DeviceCreated", "spring")] * 3
    assert all(line["device_ref"] for line in changes)
    (summary,) = [line for line in log_lines(output) if line["message"] == "rows imported"]
    assert (summary["first_row"], summary["counts"]["registered"]) == (1, 3)
    (metrics,) = metric_lines(output)
    assert metrics["DeviceCreated"] == [3]
    for secret in ("token-", "d-1", "u-1", "someone", "blue"):
        assert secret not in output
