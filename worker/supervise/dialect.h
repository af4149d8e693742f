// SPDX-License-Identifier: Apache-2.0
// Dialect: what a task and its supervisor say to each other, and to the API server, as one
// minor version of Airflow has it. Later ones compare greater: a new one differs from the
// last in what asks for it by name, and in a table of new routes (route_table.cc).
//
// The zygote names the dialect of the installed Airflow, by a table of those that were
// verified: python/zk_executor/worker/supervise_versions.py.
#pragma once

namespace zkexec {

enum class Dialect {
  k33 = 33,  // Airflow 3.3, task SDK 1.3
  k34 = 34,  // Airflow 3.4, task SDK 1.4
  kNewest = k34,
};

}  // namespace zkexec
