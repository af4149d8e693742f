# SPDX-License-Identifier: Apache-2.0
"""What we add to kazoo: a client that never blocks its callers, bounds what waits, and lives on."""
