"""Puts the helpers where worker processes of every start method find them."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "helpers"))
