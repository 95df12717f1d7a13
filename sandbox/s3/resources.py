"""S3: buckets and their policies. Objects are moto's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from moto.s3.exceptions import MissingBucket
from moto.s3.models import FakeBucket, S3Backend, s3_backends
from moto.utilities.utils import get_partition

from sandbox.cloudformation.resource import Resource, ResourceFailedError

_SUPPORTED: Final = {
    *("BucketName", "BucketEncryption", "LifecycleConfiguration"),
    *("PublicAccessBlockConfiguration", "OwnershipControls", "Tags"),
}
_LIFECYCLE: Final = {
    *("Id", "Status", "Prefix", "ExpirationInDays", "AbortIncompleteMultipartUpload"),
}
_DOMAIN: Final = "s3.amazonaws.com"


class Bucket(Resource):
    """A bucket without versions."""

    type_name = "AWS::S3::Bucket"
    name_property = "BucketName"
    longest_name = 63
    replaced_by = ("BucketName",)
    attribute_names = ("Arn", "DomainName", "RegionalDomainName")

    _bucket: FakeBucket

    def create(self) -> None:
        """Make it. A generated name is in lower case, as a bucket's must be."""
        self._check()
        self.name = self.name.lower()
        if self.name in self._backend.buckets:
            raise ResourceFailedError(f"{self.name} already exists")
        self._bucket = self._backend.create_bucket(self.name, self.region)
        self.change({})

    def change(self, before: Mapping[str, Any]) -> None:
        """Change everything except its name."""
        self._check()
        own, backend = self.properties, self._backend
        backend.put_bucket_encryption(self.name, _encryption(own.get("BucketEncryption")))
        # Objects do not expire here: a sandbox does not run for days.
        rules = own.get("LifecycleConfiguration", {}).get("Rules", [])
        backend.put_bucket_lifecycle(self.name, [_lifecycle_rule(rule) for rule in rules])
        blocked = own.get("PublicAccessBlockConfiguration")
        if blocked:
            backend.put_public_access_block(self.name, blocked)
        elif before.get("PublicAccessBlockConfiguration"):
            backend.delete_public_access_block(self.name)
        backend.put_bucket_tagging(self.name, self.tags)

    def remove(self) -> None:
        """Remove it; one with objects cannot be removed."""
        if self._backend.buckets.get(self.name) is not self._bucket:
            return
        if self._bucket.keys:
            raise ResourceFailedError("The bucket you tried to delete is not empty.")
        self._backend.delete_bucket(self.name)

    @property
    def physical_resource_id(self) -> str:
        """Its name."""
        return self.name

    def attributes(self) -> Mapping[str, str]:
        """Return its ARN and addresses."""
        return {
            "Arn": self._bucket.arn,
            "DomainName": f"{self.name}.{_DOMAIN}",
            "RegionalDomainName": self._bucket.regional_domain_name,
        }

    def _check(self) -> None:
        _refuse_others(self.properties, _SUPPORTED)
        for rule in self.properties.get("LifecycleConfiguration", {}).get("Rules", []):
            _refuse_others(rule, _LIFECYCLE)

    @property
    def _backend(self) -> S3Backend:
        return _s3(self)


class BucketPolicy(Resource):
    """The policy of a bucket. It is kept, and not checked: loopback has no TLS."""

    type_name = "AWS::S3::BucketPolicy"
    name_property = "-"
    required = ("Bucket", "PolicyDocument")
    replaced_by = ("Bucket",)

    def create(self) -> None:
        """Make it."""
        self.change({})

    def change(self, before: Mapping[str, Any]) -> None:
        """Replace it."""
        del before
        policy = self.text("PolicyDocument").encode()
        _s3(self).put_bucket_policy(self.properties["Bucket"], policy)

    def remove(self) -> None:
        """Remove it."""
        try:
            _s3(self).delete_bucket_policy(self.properties["Bucket"])
        except MissingBucket:
            return

    @property
    def physical_resource_id(self) -> str:
        """The bucket's name."""
        return str(self.properties["Bucket"])


def _encryption(wanted: Mapping[str, Any] | None) -> dict[str, Any]:
    """Write an encryption as moto keeps it; without one, S3 encrypts with its own key."""
    rules = (wanted or {}).get("ServerSideEncryptionConfiguration") or [{}]
    default = rules[0].get("ServerSideEncryptionByDefault", {"SSEAlgorithm": "AES256"})
    return {
        "Rule": {
            "ApplyServerSideEncryptionByDefault": default,
            "BucketKeyEnabled": rules[0].get("BucketKeyEnabled", False),
        }
    }


def _lifecycle_rule(rule: Mapping[str, Any]) -> dict[str, Any]:
    written: dict[str, Any] = {
        "ID": rule.get("Id", ""),
        "Status": rule["Status"],
        "Filter": {"Prefix": rule.get("Prefix", "")},
    }
    if "ExpirationInDays" in rule:
        written["Expiration"] = {"Days": str(rule["ExpirationInDays"])}
    if "AbortIncompleteMultipartUpload" in rule:
        days = rule["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"]
        written["AbortIncompleteMultipartUpload"] = {"DaysAfterInitiation": str(days)}
    return written


def _refuse_others(properties: Mapping[str, Any], supported: set[str]) -> None:
    others = sorted(properties.keys() - supported)
    if others:
        raise ResourceFailedError(f"The sandbox does not support {', '.join(others)}.")


def _s3(resource: Resource) -> S3Backend:
    backend: S3Backend = s3_backends[resource.account_id][get_partition(resource.region)]
    return backend


RESOURCE_TYPES: Final[list[type[Resource]]] = [Bucket, BucketPolicy]
