"""Makes ``hostutil`` importable from every test folder, whatever packages the folders form."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
