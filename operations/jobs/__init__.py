"""Jobs: upload files, show what will be sent, start, watch, stop, and read the results.

These commands read files with the function's own reader and check requests with its own rules, so
that a preview shows what the run will do.
"""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent.parent / "lambda_src"))
