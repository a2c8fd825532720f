"""Puts the scripted environments where worker processes of every start method find them."""

import sys
from pathlib import Path

import puffer.vector

sys.path.insert(0, str(Path(__file__).parent / "helpers"))


def pytest_configure(config):
    """Let two workers be too many on a machine with a single core, and on no other."""
    if puffer.vector.usable_cores() == 1:
        config.addinivalue_line("filterwarnings", "ignore:num_workers=:UserWarning")
