"""A local AWS for this stack: moto's server on loopback, and what moto lacks.

Nothing in here is deployed, and nothing here is needed by what is deployed.
"""

import sys
from pathlib import Path

# The inbox names outcomes by the function's own rules, so that they are the report's.
sys.path.append(str(Path(__file__).resolve().parent.parent / "lambda_src"))
