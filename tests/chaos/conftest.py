# SPDX-License-Identifier: Apache-2.0
"""Makes the modules beside the tests, and tools/devstack, importable."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "tools")]
