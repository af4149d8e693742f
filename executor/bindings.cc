// SPDX-License-Identifier: Apache-2.0
// zk_executor._core: the one file that includes pybind11. Turns Result into
// Python exceptions; releases the GIL around whatever may wait; C++ never calls
// Python. What it offers is described in python/zk_executor/_core.pyi.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstdint>
#include <ctime>

#include "common/hash_ring.h"
#include "common/log.h"
#include "executor/admin.h"
#include "executor/admin_control.h"
#include "executor/fleet_monitor.h"
#include "executor/router.h"
#include "executor/session.h"

namespace py = pybind11;
using namespace pybind11::literals;

namespace zkexec {
namespace {

std::unique_ptr<ExecutorSession> MakeSession(const std::string& hosts, const std::string& root,
                                             const std::string& team,
                                             const std::string& scheduler_id,
                                             int session_timeout_ms, int partitions,
                                             const std::string& encryption_secret,
                                             const std::string& digest_auth,
                                             std::size_t max_workload_bytes) {
  ExecutorSession::Options options;
  options.hosts = hosts;
  options.root = root;
  options.team = team;
  options.scheduler = scheduler_id;
  options.session_timeout = Duration(session_timeout_ms);
  options.partitions = partitions;
  options.secret = encryption_secret;
  options.digest_auth = digest_auth;
  options.workload_bytes_max = max_workload_bytes;
  auto session = ExecutorSession::Make(std::move(options));
  if (!session) throw py::value_error(session.error().message);
  return std::move(*session);
}

py::dict StatusDict(const ExecutorSession& session) {
  const auto status = session.status();
  return py::dict("connected"_a = status.connected, "session_state"_a = status.session_state,
                  "live_workers"_a = status.live_workers, "live_slots"_a = status.live_slots,
                  "outstanding"_a = status.outstanding, "strangers"_a = status.strangers,
                  "last_error"_a = status.last_error);
}

std::string IsoTime(std::int64_t unix_ms) {
  const auto seconds = static_cast<std::time_t>(unix_ms / 1000);
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc);
  return text;
}

AdminOptions MakeAdminOptions(const std::string& hosts, const std::string& root,
                              const std::string& team, const std::string& digest_auth,
                              int timeout_ms) {
  return {hosts, root, team, digest_auth, Duration(timeout_ms)};
}

// Set once by the module's initialisation, under the GIL.
PyObject* zk_error = nullptr;

template <typename T>
T OrThrow(Result<T> result) {
  if (result) return std::move(*result);
  if (result.error().code == ErrorCode::kInvalid) throw py::value_error(result.error().message);
  PyErr_SetString(zk_error, result.error().message.c_str());
  throw py::error_already_set();
}

std::vector<std::string> QueuesOf(const proto::Worker& worker) {
  return {worker.queues().begin(), worker.queues().end()};
}

py::list Workers(const std::string& hosts, const std::string& root, const std::string& team,
                 const std::string& digest_auth, int timeout_ms) {
  const auto options = MakeAdminOptions(hosts, root, team, digest_auth, timeout_ms);
  auto views = [&] {
    const py::gil_scoped_release release;
    return InspectWorkers(options);
  }();
  py::list rows;
  for (const auto& view : OrThrow(std::move(views))) {
    const auto& worker = view.worker;
    rows.append(py::dict(
        "worker"_a = worker.name(), "host"_a = worker.host(), "pid"_a = worker.pid(),
        "state"_a = worker.state(), "queues"_a = QueuesOf(worker), "slots"_a = worker.slots(),
        "running"_a = view.running, "version"_a = worker.version(),
        "log_port"_a = worker.http_port(), "started_at"_a = IsoTime(worker.started_unix_ms()),
        "comment"_a = worker.comment()));
  }
  return rows;
}

py::list Queues(const std::string& hosts, const std::string& root, const std::string& team,
                const std::string& digest_auth, int timeout_ms) {
  const auto options = MakeAdminOptions(hosts, root, team, digest_auth, timeout_ms);
  auto views = [&] {
    const py::gil_scoped_release release;
    return InspectQueues(options);
  }();
  py::list rows;
  for (const auto& view : OrThrow(std::move(views))) {
    py::object age = py::none();
    if (view.oldest_age_s) age = py::float_(*view.oldest_age_s);
    rows.append(py::dict("queue"_a = view.queue, "depth"_a = view.depth, "running"_a = view.running,
                         "oldest_age_seconds"_a = age, "workers"_a = view.workers));
  }
  return rows;
}

py::list Send(const std::string& hosts, const std::string& root, const std::string& team,
              const std::string& digest_auth, int timeout_ms,
              const std::vector<std::string>& workers, const std::string& verb, std::uint32_t slots,
              const std::vector<std::string>& queues, const std::string& comment,
              const std::string& by) {
  const auto options = MakeAdminOptions(hosts, root, team, digest_auth, timeout_ms);
  proto::Command command;
  command.set_verb(verb);
  command.set_slots(slots);
  for (const auto& queue : queues) command.add_queues(queue);
  command.set_comment(comment);
  command.set_by(by);
  auto outcomes = [&] {
    const py::gil_scoped_release release;
    return SendCommand(options, workers, command);
  }();
  py::list rows;
  for (const auto& one : OrThrow(std::move(outcomes))) {
    const auto& worker = one.worker;
    rows.append(py::dict("worker"_a = worker.name(), "state"_a = worker.state(),
                         "slots"_a = worker.slots(), "queues"_a = QueuesOf(worker),
                         "comment"_a = worker.comment(), "problem"_a = one.problem));
  }
  return rows;
}

const char* ToString(KillOutcome::Kind kind) {
  switch (kind) {
    case KillOutcome::Kind::kEnded: return "ended";
    case KillOutcome::Kind::kAsked: return "asked";
    case KillOutcome::Kind::kWorkerGone: return "worker_gone";
    case KillOutcome::Kind::kQueued: return "queued";
    case KillOutcome::Kind::kUnknown: return "unknown";
    case KillOutcome::Kind::kAmbiguous: return "ambiguous";
  }
  return "unknown";
}

py::tuple KillOne(const std::string& hosts, const std::string& root, const std::string& team,
                  const std::string& digest_auth, int timeout_ms, const std::string& dispatch_id,
                  const std::string& label_head, const std::string& label_tail) {
  const auto options = MakeAdminOptions(hosts, root, team, digest_auth, timeout_ms);
  auto ran = [&] {
    const py::gil_scoped_release release;
    return KillDispatch(options, {dispatch_id, label_head, label_tail});
  }();
  const auto outcome = OrThrow(std::move(ran));
  py::list rows;
  for (const auto& entry : outcome.entries) {
    rows.append(py::dict("dispatch_id"_a = entry.dispatch_id(), "label"_a = entry.label(),
                         "queue"_a = entry.queue(), "worker"_a = entry.worker()));
  }
  return py::make_tuple(ToString(outcome.kind), rows);
}

std::unique_ptr<FleetMonitor> MakeFleetMonitor(const std::string& hosts, const std::string& root,
                                               const std::string& team,
                                               const std::string& digest_auth, int timeout_ms) {
  return OrThrow(FleetMonitor::Make(MakeAdminOptions(hosts, root, team, digest_auth, timeout_ms)));
}

py::dict ReadFleet(FleetMonitor& monitor) {
  auto read = [&] {
    const py::gil_scoped_release release;
    return monitor.Read();
  }();
  const auto view = OrThrow(std::move(read));
  py::list queues;
  for (const auto& [name, queue] : view.queues) {
    py::object age = py::none();
    if (queue.oldest_age_s) age = py::float_(*queue.oldest_age_s);
    queues.append(py::dict("queue"_a = name, "depth"_a = queue.depth, "running"_a = queue.running,
                           "reserved_slots"_a = queue.reserved_slots, "oldest_age_seconds"_a = age,
                           "workers"_a = queue.workers));
  }
  py::list workers;
  for (const auto& [name, worker] : view.workers) {
    workers.append(py::dict("worker"_a = name, "state"_a = worker.node.state(),
                            "queues"_a = QueuesOf(worker.node), "slots"_a = worker.node.slots(),
                            "running"_a = worker.running,
                            "reserved_slots"_a = worker.reserved_slots));
  }
  return py::dict("queues"_a = queues, "workers"_a = workers, "schedulers"_a = view.schedulers,
                  "results_waiting"_a = view.results_waiting,
                  "without_claim"_a = view.without_claim, "commands"_a = view.commands,
                  "command_age_seconds"_a = view.command_age_s,
                  "unrecognized"_a = view.unrecognized);
}

std::vector<std::vector<std::string>> RingPreference(
    const std::vector<std::pair<std::string, int>>& nodes, const std::vector<std::string>& keys,
    std::size_t count) {
  // 160 MB of points; a thousand workers of a thousand slots each.
  constexpr std::int64_t kTotalMax = 1'000'000;
  std::vector<HashRing::Node> weighted;
  weighted.reserve(nodes.size());
  std::int64_t total = 0;
  for (const auto& [name, slots] : nodes) {
    if (slots < 0 || slots > HashRing::kWeightMax) {
      throw py::value_error("the slots of " + name + " are " + std::to_string(slots) +
                            "; they must be from 0 to " + std::to_string(HashRing::kWeightMax));
    }
    total += slots;
    weighted.push_back({name, slots});
  }
  if (total > kTotalMax) {
    throw py::value_error("the slots of all nodes are " + std::to_string(total) +
                          " together; a ring takes " + std::to_string(kTotalMax));
  }
  return PreferredNodes(weighted, keys, count);
}

}  // namespace
}  // namespace zkexec

PYBIND11_MODULE(_core, m) {
  using namespace zkexec;
  m.doc() = "ZkExecutor's ZooKeeper side; see _core.pyi";
  SetUpLogging("info");
  zk_error = PyErr_NewException("zk_executor._core.ZkError", PyExc_Exception, nullptr);
  m.attr("ZkError") = py::handle(zk_error);

  py::class_<Placement>(m, "Placement")
      .def(py::init([](std::string dispatch_id, std::string queue, std::string kind,
                       std::string route_key, int slots, int priority, const py::bytes& workload,
                       std::string label) {
             return Placement{std::move(dispatch_id),
                              std::move(queue),
                              std::move(kind),
                              std::move(route_key),
                              slots,
                              priority,
                              std::string(workload),
                              std::move(label)};
           }),
           py::kw_only(), "dispatch_id"_a, "queue"_a, "kind"_a, "route_key"_a, "slots"_a,
           "priority"_a, "workload"_a, "label"_a)
      .def_readonly("dispatch_id", &Placement::dispatch_id)
      .def_readonly("queue", &Placement::queue)
      .def_readonly("kind", &Placement::kind)
      .def_readonly("route_key", &Placement::route_key)
      .def_readonly("slots", &Placement::slots)
      .def_readonly("priority", &Placement::priority)
      .def_readonly("label", &Placement::label)
      .def("__repr__", [](const Placement& one) {
        // Without the workload: it holds a token.
        return "<Placement " + one.dispatch_id + " " + one.label + ">";
      });

  py::class_<Event>(m, "Event")
      .def_readonly("dispatch_id", &Event::dispatch_id)
      .def_readonly("outcome", &Event::outcome)
      .def_readonly("info", &Event::info)
      .def_readonly("worker", &Event::worker)
      .def("__repr__", [](const Event& one) {
        return "<Event " + one.dispatch_id + " " + one.outcome + " " + one.info + ">";
      });

  const auto released = py::call_guard<py::gil_scoped_release>();
  py::class_<ExecutorSession>(m, "Session")
      .def(py::init(&MakeSession), py::kw_only(), "hosts"_a, "root"_a, "team"_a, "scheduler_id"_a,
           "session_timeout_ms"_a, "partitions"_a, "encryption_secret"_a, "digest_auth"_a,
           "max_workload_bytes"_a)
      .def("start", &ExecutorSession::Start, released)
      .def("place", &ExecutorSession::Place, "items"_a, released)
      .def("adopt", &ExecutorSession::Adopt, "dispatches"_a,
           "dead_schedulers"_a = std::vector<std::string>(), released)
      .def("revoke", &ExecutorSession::Revoke, "dispatch_id"_a, released)
      .def("drain_events", &ExecutorSession::DrainEvents, released)
      .def("status", &StatusDict)
      .def(
          "stop",
          [](ExecutorSession& session, int timeout_ms) { session.Stop(Duration(timeout_ms)); },
          "timeout_ms"_a, released);

  py::class_<FleetMonitor>(m, "FleetMonitor")
      .def(py::init(&MakeFleetMonitor), py::kw_only(), "hosts"_a, "root"_a, "team"_a,
           "digest_auth"_a, "timeout_ms"_a)
      .def("read", &ReadFleet)
      .def(
          "wait", [](FleetMonitor& monitor, int ms) { monitor.Wait(Duration(ms)); }, "ms"_a,
          released);

  m.def("inspect_workers", &Workers, py::kw_only(), "hosts"_a, "root"_a, "team"_a, "digest_auth"_a,
        "timeout_ms"_a);
  m.def("inspect_queues", &Queues, py::kw_only(), "hosts"_a, "root"_a, "team"_a, "digest_auth"_a,
        "timeout_ms"_a);
  m.def("send_command", &Send, py::kw_only(), "hosts"_a, "root"_a, "team"_a, "digest_auth"_a,
        "timeout_ms"_a, "workers"_a, "verb"_a, "slots"_a = 0,
        "queues"_a = std::vector<std::string>{}, "comment"_a = "", "by"_a = "");
  m.def("kill_dispatch", &KillOne, py::kw_only(), "hosts"_a, "root"_a, "team"_a, "digest_auth"_a,
        "timeout_ms"_a, "dispatch_id"_a = "", "label_head"_a = "", "label_tail"_a = "");
  m.def("ring_preference", &RingPreference, py::kw_only(), "nodes"_a, "keys"_a, "count"_a = 1,
        released);
}
