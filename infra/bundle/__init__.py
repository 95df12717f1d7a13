"""The function's archive for Lambda: its wheels, its bytecode, and one zip file of both."""

from infra.bundle.archive import OUT, REPOSITORY, SOURCE, Bundle, build
from infra.bundle.wheels import BundleError

__all__ = ["OUT", "REPOSITORY", "SOURCE", "Bundle", "BundleError", "build"]
