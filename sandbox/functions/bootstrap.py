"""What a function's process starts with: AWS's runtime client, and nothing else.

It runs by path in an interpreter that knows no site-packages, so it may import
only the standard library and what the two folders in its arguments hold: the
function's bundle first, then the runtime's packages, as in Lambda.
"""

import sys

task_root, runtime_packages, handler = sys.argv[1:]
sys.path[:0] = [task_root, runtime_packages]
sys.argv = ["bootstrap", handler]

from awslambdaric.__main__ import main  # type: ignore[import-untyped]  # noqa: E402  untyped; the path is set above

main(sys.argv)
