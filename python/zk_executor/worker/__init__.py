# SPDX-License-Identifier: Apache-2.0
"""The Python side of a worker: the zygote that ``zk-worker`` starts and the processes it forks."""
