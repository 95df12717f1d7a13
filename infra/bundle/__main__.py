"""The command line ``python -m infra.bundle``, which ``make bundle`` calls."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from infra.bundle.archive import OUT, build
from infra.bundle.wheels import LAMBDA_ARM64, BundleError, this_machine


def main(arguments: list[str] | None = None) -> int:
    """Build one archive and print its size and digest; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m infra.bundle", description="Build the function's deployment archive."
    )
    parser.add_argument(
        "--target",
        choices=("lambda", "local"),
        default="lambda",
        help="what to build for: Lambda on arm64 (the default), or this machine",
    )
    parser.add_argument("--out", type=Path, default=OUT, help="directory of archives and cache")
    chosen = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        target = LAMBDA_ARM64 if chosen.target == "lambda" else this_machine()
        bundle = build(target, out=chosen.out)
    except BundleError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(
        f"{bundle.path}\n"
        f"  for       {target}\n"
        f"  size      {bundle.size / 1e6:.2f} MB zipped\n"
        f"  sha256    {bundle.digest}\n"
        f"  bytecode  {'compiled in' if bundle.bytecode else 'none'}\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
