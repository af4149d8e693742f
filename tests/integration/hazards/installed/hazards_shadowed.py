# SPDX-License-Identifier: Apache-2.0
"""An installed module, before which another of its name will stand."""

VALUE = "old"
