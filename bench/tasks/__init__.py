# SPDX-License-Identifier: Apache-2.0
"""What bench_tasks.py measures: real tasks of a real Airflow, under ours and under Celery.

``lab`` starts the servers, ``configurations`` names what is compared, ``flows``, ``memory`` and
``sleeping`` measure, ``logs``, ``figures`` and ``report`` are pure. Threads: main thread only.
Errors: DevStackError.
"""
