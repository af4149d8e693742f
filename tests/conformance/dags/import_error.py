# SPDX-License-Identifier: Apache-2.0
"""A DAG file that cannot be imported."""

import no_such_module  # noqa: F401
