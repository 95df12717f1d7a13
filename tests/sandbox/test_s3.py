"""S3 in the sandbox: buckets of a template, objects, and what roles may do with them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.support.service_sandbox import ServiceSandbox, assumed, client, refusal
from tests.support.templates import ACCOUNT, Template, joined, output, outputs, resource

BLOCKED = dict.fromkeys(
    ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets"), True
)
ARN = {"Fn::GetAtt": ["Bucket", "Arn"]}
TLS_ONLY = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Action": "s3:*",
            "Condition": {"Bool": {"aws:SecureTransport": "false"}},
            "Effect": "Deny",
            "Principal": {"AWS": "*"},
            "Resource": [ARN, joined(ARN, "/*")],
        }
    ],
}


def bucket(days: int = 30, **others: Any) -> Template:
    """Make the bucket that the CDK writes, with its policy."""
    rules = [
        {
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1},
            "ExpirationInDays": days,
            "Status": "Enabled",
        }
    ]
    encryption = {"ServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
    made = resource(
        "S3::Bucket",
        BucketEncryption={"ServerSideEncryptionConfiguration": [encryption]},
        LifecycleConfiguration={"Rules": rules},
        PublicAccessBlockConfiguration=BLOCKED,
    )
    policy = resource("S3::BucketPolicy", Bucket={"Ref": "Bucket"}, PolicyDocument=TLS_ONLY)
    return {"Bucket": {**made, **others}, "Policy": policy}


NAMES = output(Name={"Ref": "Bucket"}, Arn=ARN)


def created(sandbox: ServiceSandbox) -> str:
    """Create a stack with a bucket; give the bucket's name."""
    return outputs(sandbox.create(bucket(), Outputs=NAMES))["Name"]


def test_a_bucket_of_a_template_has_its_settings(sandbox: ServiceSandbox) -> None:
    made = outputs(sandbox.create(bucket(), Outputs=NAMES))

    name = made["Name"]
    assert name == name.lower()
    assert made["Arn"] == f"arn:aws:s3:::{name}"
    s3 = sandbox.client("s3")
    encryption = s3.get_bucket_encryption(Bucket=name)["ServerSideEncryptionConfiguration"]
    assert encryption["Rules"][0]["ApplyServerSideEncryptionByDefault"] == {
        "SSEAlgorithm": "AES256"
    }
    (rule,) = s3.get_bucket_lifecycle_configuration(Bucket=name)["Rules"]
    assert rule["Expiration"] == {"Days": 30}
    assert rule["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 1}
    assert s3.get_public_access_block(Bucket=name)["PublicAccessBlockConfiguration"] == BLOCKED
    assert "Status" not in s3.get_bucket_versioning(Bucket=name)
    policy = json.loads(s3.get_bucket_policy(Bucket=name)["Policy"])
    assert policy["Statement"][0]["Resource"] == [made["Arn"], f"{made['Arn']}/*"]


def test_an_update_changes_the_settings_and_keeps_the_objects(sandbox: ServiceSandbox) -> None:
    name = created(sandbox)
    s3 = sandbox.client("s3")
    s3.put_object(Bucket=name, Key="a", Body=b"kept")

    sandbox.update(bucket(days=7))

    (rule,) = s3.get_bucket_lifecycle_configuration(Bucket=name)["Rules"]
    assert rule["Expiration"] == {"Days": 7}
    assert s3.get_object(Bucket=name, Key="a")["Body"].read() == b"kept"


@pytest.mark.parametrize(("others", "kept"), [({"DeletionPolicy": "Retain"}, True), ({}, False)])
def test_a_deleted_stack_keeps_a_bucket_with_the_policy_to_retain_it(
    sandbox: ServiceSandbox, others: Any, kept: bool
) -> None:
    sandbox.create(bucket(**others))

    sandbox.delete()

    assert bool(sandbox.client("s3").list_buckets()["Buckets"]) == kept


def test_a_bucket_with_objects_cannot_be_deleted(sandbox: ServiceSandbox) -> None:
    sandbox.client("s3").put_object(Bucket=created(sandbox), Key="a", Body=b"")

    sandbox.delete()

    assert sandbox.stack()["StackStatus"] == "DELETE_FAILED"


@pytest.mark.parametrize(
    "properties",
    [
        {"VersioningConfiguration": {"Status": "Enabled"}},
        {"NotificationConfiguration": {}},
        {"LifecycleConfiguration": {"Rules": [{"Status": "Enabled", "Transitions": []}]}},
    ],
)
def test_other_settings_are_refused_by_name(
    sandbox: ServiceSandbox, properties: dict[str, Any]
) -> None:
    stack = sandbox.create({"Bucket": resource("S3::Bucket", **properties)})

    named = "Transitions" if "LifecycleConfiguration" in properties else next(iter(properties))
    assert stack["StackStatus"] == "ROLLBACK_COMPLETE"
    assert f"The sandbox does not support {named}." in stack["StackStatusReason"]


def test_a_range_of_an_object_needs_its_etag(sandbox: ServiceSandbox) -> None:
    name, s3 = created(sandbox), sandbox.client("s3")
    etag = s3.put_object(Bucket=name, Key="rows", Body=b"0123456789")["ETag"]
    read = {"Bucket": name, "Key": "rows", "Range": "bytes=2-4", "IfMatch": etag}

    answer = s3.get_object(**read)

    assert answer["Body"].read() == b"234"
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 206
    s3.put_object(Bucket=name, Key="rows", Body=b"another file")
    with pytest.raises(ClientError) as changed:
        s3.get_object(**read)
    assert changed.value.response["ResponseMetadata"]["HTTPStatusCode"] == 412


def upload_in_parts(s3: Any, **where: str) -> None:
    upload = s3.create_multipart_upload(**where)["UploadId"]
    parts = [
        {
            "PartNumber": number,
            "ETag": s3.upload_part(**where, UploadId=upload, PartNumber=number, Body=body)["ETag"],
        }
        for number, body in enumerate([b"a" * 5 * 1024 * 1024, b"b"], start=1)
    ]
    s3.complete_multipart_upload(**where, UploadId=upload, MultipartUpload={"Parts": parts})


CALLS: dict[str, tuple[str, Callable[[Any, str], object]]] = {
    "get": ("s3:GetObject", lambda s3, name: s3.get_object(Bucket=name, Key="in/a")),
    "head": ("s3:GetObject", lambda s3, name: s3.head_object(Bucket=name, Key="in/a")),
    "put": ("s3:PutObject", lambda s3, name: s3.put_object(Bucket=name, Key="in/a", Body=b"")),
    "delete": ("s3:DeleteObject", lambda s3, name: s3.delete_object(Bucket=name, Key="in/a")),
    "parts": ("s3:PutObject", lambda s3, name: upload_in_parts(s3, Bucket=name, Key="in/a")),
    "list": ("s3:ListBucket", lambda s3, name: s3.list_objects_v2(Bucket=name, Prefix="in/")),
    "exists": ("s3:ListBucket", lambda s3, name: s3.head_bucket(Bucket=name)),
}


def role(sandbox: ServiceSandbox, action: str, resource: str) -> Any:
    """Give the client of a role that is allowed one action on one resource."""
    roles = sandbox.client("iam")
    arn = roles.create_role(RoleName="reader", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    statement = {"Effect": "Allow", "Action": action, "Resource": resource}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    roles.put_role_policy(RoleName="reader", PolicyName="one", PolicyDocument=document)
    return client("s3", sandbox.url, assumed(arn))


@pytest.mark.parametrize("call", CALLS)
def test_a_role_may_do_what_it_is_allowed(sandbox: ServiceSandbox, call: str) -> None:
    name = created(sandbox)
    sandbox.client("s3").put_object(Bucket=name, Key="in/a", Body=b"")
    action, do = CALLS[call]
    arn = f"arn:aws:s3:::{name}" + ("" if action == "s3:ListBucket" else "/in/*")

    do(role(sandbox, action, arn), name)


@pytest.mark.parametrize("call", CALLS)
def test_a_role_may_not_do_the_same_elsewhere(sandbox: ServiceSandbox, call: str) -> None:
    name = created(sandbox)
    action, do = CALLS[call]

    error = refusal(do, role(sandbox, action, f"arn:aws:s3:::{name}/out/*"), name)

    assert "AccessDenied" in error or "403" in error  # an answer to HEAD has no body


@pytest.mark.parametrize(
    "do",
    [
        lambda s3, name: s3.get_bucket_policy(Bucket=name),
        lambda s3, name: s3.copy_object(Bucket=name, Key="in/b", CopySource=f"{name}/in/a"),
    ],
)
def test_what_the_check_does_not_know_is_denied(
    sandbox: ServiceSandbox, do: Callable[[Any, str], object]
) -> None:
    name = created(sandbox)
    allowed = role(sandbox, "s3:*", f"arn:aws:s3:::{name}/*")

    assert "does not know this call" in refusal(do, allowed, name)


def test_a_denied_call_names_the_role_and_the_object(sandbox: ServiceSandbox) -> None:
    name = created(sandbox)
    reader = role(sandbox, "s3:GetObject", f"arn:aws:s3:::{name}/in/*")

    error = refusal(reader.get_object, Bucket=name, Key="out/a")

    assert f"arn:aws:sts::{ACCOUNT}:assumed-role/reader/function is not authorized" in error
    assert f"s3:GetObject on resource: arn:aws:s3:::{name}/out/a" in error
