"""``python -m sodarace_gym.suite``."""

from __future__ import annotations

import sys

from sodarace_gym.suite.cli import main

if __name__ == "__main__":
    sys.exit(main())
