"""The first program of a function's process: it starts AWS's runtime client.

It runs by path in an interpreter without site-packages. So it can import only the standard library
and the two folders in its arguments: the function's bundle first, then the runtime's packages, as
in Lambda.
"""

import sys

task_root, runtime_packages, handler = sys.argv[1:]
sys.path[:0] = [task_root, runtime_packages]
sys.argv = ["bootstrap", handler]

from awslambdaric.__main__ import main  # type: ignore[import-untyped]  # noqa: E402  untyped; the path is set above

main(sys.argv)
