"""The provenance of a release: which files were made, from which commit, and how.

An in-toto statement with the predicate SLSA Provenance v1, without a signature: whoever publishes
a release signs it, if wanted. https://slsa.dev/spec/v1.0/provenance
"""

from __future__ import annotations

import platform
import zlib
from collections.abc import Mapping
from typing import Any, Final

from infra.release.source import Source

_BUILD_TYPE: Final = "urn:push-sender:make-release:v1"
_BUILDER: Final = "urn:push-sender:builder:any"
"""Any machine: the same commit gives the same files, so no builder has to be trusted."""


def provenance(source: Source, digests: Mapping[str, str]) -> dict[str, Any]:
    """Make the statement about files, given their SHA-256 by name."""
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": name, "digest": {"sha256": digests[name]}} for name in digests],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": _BUILD_TYPE,
                "externalParameters": {"version": source.version},
                # What else the bytes depend on: the compiler of bytecode, and of the archive.
                "internalParameters": {
                    "python": platform.python_version(),
                    "zlib": zlib.ZLIB_RUNTIME_VERSION,
                },
                "resolvedDependencies": [
                    {"name": "source", "digest": {"gitCommit": source.commit}}
                ],
            },
            "runDetails": {"builder": {"id": _BUILDER}},
        },
    }
