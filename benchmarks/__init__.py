"""How fast the store is, beside userharbor-sqlalchemy 0.7.0 and the bare database.

`python -m benchmarks --help` says what can be asked; docs/performance.md how to read it.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent

# The throwaway servers, the proxy and the calls are the tests' own.
sys.path.insert(0, str(ROOT / "tests"))
