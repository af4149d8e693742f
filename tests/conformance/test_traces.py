# SPDX-License-Identifier: Apache-2.0
"""Traces: tasks tell their spans, and the processes that they are forked from have no thread."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as messages
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as service
from supervised import Supervised

DAG = """
from airflow.sdk import DAG, task
with DAG("d"):
    @task
    def say():
        from opentelemetry import trace
        with trace.get_tracer("dag").start_as_current_span("a span of the task"):
            pass
    say()
"""


class Collector(service.TraceServiceServicer):
    """Keeps the names of the spans that it is told."""

    def __init__(self) -> None:
        self.spans: list[str] = []

    def Export(self, request, context):  # noqa: N802
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                self.spans += [span.name for span in scope.spans]
        return messages.ExportTraceServiceResponse()


@pytest.fixture
def collector() -> Iterator[tuple[Collector, str]]:
    server = grpc.server(ThreadPoolExecutor(2))
    collector = Collector()
    service.add_TraceServiceServicer_to_server(collector, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield collector, f"http://127.0.0.1:{port}"
    server.stop(None).wait()


@pytest.mark.parametrize("supervisor", ["native", "airflow"])
def test_spans_of_tasks_arrive_and_nothing_that_forks_has_threads(
    tmp_path, folder, collector, supervisor
):
    heard, address = collector
    with Supervised(
        tmp_path,
        variables={"OTEL_EXPORTER_OTLP_ENDPOINT": address},
        AIRFLOW__TRACES__OTEL_ON="True",
        SUPERVISOR=supervisor,
    ) as supervised:
        (supervised.dags / "dag.py").write_text(DAG)
        for _ in range(2):
            assert supervised.run("say").outcome == "success"
        forking = ["zygote"] + ["warm process"] * (supervisor == "native")
        for process in forking:
            threads = os.listdir(f"/proc/{supervised.pid_of(process)}/task")
            assert len(threads) == 1, process
        assert "zk-worker: the imports of Airflow" not in supervised.said()
    assert heard.spans.count("a span of the task") == 2
