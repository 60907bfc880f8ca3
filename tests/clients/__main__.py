"""`python -m tests.clients [PYTEST ARGUMENTS]`: what `make clients` runs."""

import sys
from pathlib import Path

import pytest

if __name__ == "__main__":
    tests = Path(__file__).with_name("every_client.py")
    sys.exit(pytest.main(["-v", str(tests), *sys.argv[1:]]))
