# SPDX-License-Identifier: Apache-2.0
"""tools/ is importable; the chart's programs come from tools/bootstrap.sh --test."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
