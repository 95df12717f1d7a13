"""The SBOM of an archive in the format CycloneDX: its packages, their wheels and licences."""

from __future__ import annotations

import uuid
import zipfile
from collections.abc import Iterator
from datetime import datetime
from email.message import Message
from email.parser import BytesParser
from typing import Final

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from packageurl import PackageURL
from packaging.utils import canonicalize_name, parse_wheel_filename

from infra.bundle import Bundle
from infra.release.errors import ReleaseError

_OURS: Final = uuid.UUID("6d6c1d0e-6a07-5d2c-8a5b-0c4d1d2b5a11")  # a namespace; any id would do
_CLASSIFIER: Final = "License :: OSI Approved :: "

_LICENCES: Final = {"python-dateutil": "Apache-2.0 OR BSD-3-Clause"}
"""Of packages whose metadata has no exact licence: what their file LICENSE says."""


def bill_of_materials(bundle: Bundle, *, name: str, version: str, time: datetime) -> str:
    """Write the SBOM of an archive as JSON.

    Each package has the SHA-256 of the wheel that it was taken from. The archive contains a part
    of its files, compiled.

    Parameters
    ----------
    bundle
        The archive.
    name, version
        The name of the archive's file, and the version of the release.
    time
        When it was made: the same input must give the same bytes.

    Raises
    ------
    ReleaseError
        If a package names no licence, or is not from one of the wheels.
    """
    bom = Bom(serial_number=uuid.uuid5(_OURS, bundle.digest))
    bom.metadata.timestamp = time
    bom.metadata.component = Component(
        name=name,
        version=version,
        type=ComponentType.APPLICATION,
        bom_ref=name,
        licenses=[LicenseFactory().make_from_string("MIT")],
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=bundle.digest)],
    )
    components = list(_components(bundle))
    bom.components.update(components)
    bom.register_dependency(bom.metadata.component, components)
    output = make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6)
    return output.output_as_string(indent=2) + "\n"


def _components(bundle: Bundle) -> Iterator[Component]:
    digests = {}
    for file, digest in bundle.wheels.items():
        package, release, *_ = parse_wheel_filename(file)
        digests[package, str(release)] = digest
    for metadata in _packages_in(bundle):
        name, version = str(metadata["Name"]), str(metadata["Version"])
        digest = digests.pop((canonicalize_name(name), version), "")
        if not digest:
            raise ReleaseError(f"{bundle.path.name}: {name} {version} is from no known wheel")
        url = PackageURL("pypi", name=canonicalize_name(name), version=version)
        yield Component(
            name=name,
            version=version,
            type=ComponentType.LIBRARY,
            description=metadata["Summary"],
            purl=url,
            bom_ref=url.to_string(),
            licenses=[LicenseFactory().make_from_string(_licence_of(metadata))],
            hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest)],
        )
    if digests:
        missing = ", ".join(name for name, _ in digests)
        raise ReleaseError(f"{bundle.path.name} has nothing of {missing}")


def _packages_in(bundle: Bundle) -> Iterator[Message]:
    """Read the metadata of each package: https://packaging.python.org/specifications/core-metadata."""
    with zipfile.ZipFile(bundle.path) as archive:
        for name in archive.namelist():
            if name.endswith(".dist-info/METADATA"):
                yield BytesParser().parsebytes(archive.read(name))


def _licence_of(metadata: Message) -> str:
    """Return a package's licence: the expression, else the short text, else the classifier."""
    classifiers = [str(each) for each in metadata.get_all("Classifier", [])]
    approved = [each.removeprefix(_CLASSIFIER) for each in classifiers if _CLASSIFIER in each]
    short = str(metadata["License"] or "")
    known = _LICENCES.get(str(metadata["Name"]))
    for licence in (
        known,
        metadata["License-Expression"],
        "" if "\n" in short else short,
        *approved,
    ):
        if licence:
            return str(licence)
    raise ReleaseError(f"{metadata['Name']} {metadata['Version']} names no licence")
