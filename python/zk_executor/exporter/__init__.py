# SPDX-License-Identifier: Apache-2.0
"""The exporter of what ZooKeeper knows of the fleet: Prometheus metrics, JSON, health.

A small process of its own that imports no Airflow; ``airflow zk exporter`` becomes it.
"""
