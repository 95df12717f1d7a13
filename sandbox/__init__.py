"""A local AWS for this stack: moto's server on loopback, and what moto lacks.

Nothing of it is deployed, and the function and the stack do not need it.
"""

import sys
from pathlib import Path

# The inbox names outcomes with the function's own code, so that reports have the same ones.
sys.path.append(str(Path(__file__).resolve().parent.parent / "lambda_src"))
