# SPDX-License-Identifier: Apache-2.0
"""The scenarios of bench_dispatch.py.

Each is a function that takes the Bench and returns a flat dict of figures; None stands for what
could not be measured here. Threads: main thread only. Errors: DevStackError.
"""
