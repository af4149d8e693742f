// SPDX-License-Identifier: Apache-2.0
// Any order of events and any answers for one supervised task: it ends once, and nothing else is
// harmed.
//
//   input = settings (1 byte) events
//   event = kind (1 byte) what belongs to it; a text = length (2 bytes) bytes
//
// Whatever the API server answers, whatever the task asks, logs and does: no exception leaves Task,
// every frame for the task can be read, the end is reported exactly once, after the process has
// ended; and another task of the same worker then runs as if nothing had been.
#include <array>
#include <csignal>
#include <deque>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "common/log.h"
#include "tests/fakes/fake_clock.h"
#include "tests/fakes/fake_execution_api.h"
#include "tests/fuzz/invariants.h"
#include "worker/supervise/task.h"

namespace zkexec::fuzz {
namespace {

constexpr std::array kStatuses{200, 204, 201, 404, 409, 410, 401, 403, 0, 500,
                               503, 422, 400, 302, 307, 100, 600, 999, -1};
constexpr std::array kContentTypes{"application/json", "text/html", ""};
constexpr char kContext[] = R"({"max_tries":1,"should_retry":true,"dag_run":{}})";
constexpr int kEventsMax = 200;

class Input {
 public:
  Input(const std::uint8_t* data, std::size_t size) : data_(data), size_(size) {}
  bool empty() const { return size_ == 0; }
  std::uint8_t Byte() {
    if (size_ == 0) return 0;
    --size_;
    return *data_++;
  }
  std::string Text() {
    const std::size_t high = Byte();
    const auto length = std::min<std::size_t>(size_, high << 8 | Byte());
    std::string text(reinterpret_cast<const char*>(data_), length);
    data_ += length;
    size_ -= length;
    return text;
  }

 private:
  const std::uint8_t* data_;
  std::size_t size_;
};

// What the world does with a task, and what it was told.
class World : public Task::Io {
 public:
  World(const SuperviseSettings& settings, const Clock& clock, const char* name) {
    TaskSpec spec;
    spec.dispatch_id = name;
    spec.ti_id = name;
    spec.token = "token";
    spec.dag_rel_path = "dag.py";
    spec.bundle_name = "b";
    spec.bundle_json = "{}";
    spec.ti_json = "{}";
    spec.log_path = "log";
    task = std::make_unique<Task>(spec, settings, api, clock, *this, 1);
  }

  void Write(const std::string& frame) override {
    Require(reports.empty(), "a frame after the end");
    const auto payload = Payload(frame);
    std::int64_t id = -1;
    const auto decoded = DecodeRequest(payload, &id);
    Require(id >= 0, "a frame that is none", payload);
    ++frames;
  }
  void SendLoggingChannel(std::int64_t) override {}
  void Signal(int, bool) override {}
  void Log(const std::string& lines) override {
    Require(lines.empty() || lines.back() == '\n', "a line without its end", lines);
  }
  void AskHelper(const std::string&, std::function<void(std::string)> done) override {
    helped.push_back(std::move(done));
  }
  void UploadLog(std::function<void()> done) override { uploads.push_back(std::move(done)); }
  void CloseStreams() override {}
  void Done(const ExitReport& report) override {
    Require(exited, "an end before the process has ended", report.outcome);
    reports.push_back(report);
  }

  FakeExecutionApi api;
  std::unique_ptr<Task> task;
  std::deque<std::function<void(std::string)>> helped;
  std::deque<std::function<void()>> uploads;
  std::vector<ExitReport> reports;
  int frames = 0;
  bool exited = false;
  bool closed = false;
};

std::string Request(Input* input) {
  const auto routes = AllRoutes();
  const auto which = input->Byte();
  if (which == 255) return input->Text();  // any payload at all
  nlohmann::ordered_json body;
  body["type"] = which < routes.size() ? routes[which].type
                 : which % 4 == 0      ? "TaskState"
                 : which % 4 == 1      ? "MaskSecret"
                 : which % 4 == 2      ? "ResendLoggingFD"
                                       : "SomethingNew";
  const auto text = input->Text();
  // Any JSON as the value of every field, or a text.
  auto value = nlohmann::ordered_json::parse(text, nullptr, false);
  if (value.is_discarded()) value = "a text";
  for (const char* name : {"key", "dag_id", "run_id", "task_id", "name", "uri", "conn_id", "value",
                           "state", "reset_dag_run", "rendered_map_index", "offset", "map_index"})
    body[name] = value;
  const auto packed =
      nlohmann::ordered_json::to_msgpack(nlohmann::ordered_json::array({which, body, nullptr}));
  return {packed.begin(), packed.end()};
}

ApiAnswer AnyAnswer(Input* input) {
  ApiAnswer answer;
  answer.status = kStatuses[input->Byte() % kStatuses.size()];
  answer.content_type = kContentTypes[input->Byte() % kContentTypes.size()];
  const auto more = input->Byte();
  answer.body = (more & 1) != 0 ? kContext : input->Text();
  if ((more & 2) != 0) answer.refreshed_token = input->Text();
  if ((more & 4) != 0) answer.content_range = input->Text();
  if (answer.status == 0) answer.failure = answer.body;
  return answer;
}

void Exit(World* world, int code) {
  world->exited = true;
  world->task->OnExit({code, 1000});
}

void Happen(World* world, FakeClock* clock, Input* input) {
  auto& task = *world->task;
  switch (input->Byte() % 14) {
    case 0:
    case 1:
    case 2:
    case 3: {
      auto answer = AnyAnswer(input);
      if (world->api.waits()) world->api.Answer(std::move(answer));
      return;
    }
    case 4:
    case 5:
    case 6:
      if (!world->closed) task.OnRequest(Request(input));
      return;
    case 7: clock->Advance(Duration{input->Byte() * 200}); return task.Tick();
    case 8: {
      const auto line = input->Text();
      if (!world->closed) task.OnLogEvent(line);
      return;
    }
    case 9: {
      const auto line = input->Text();
      if (!world->closed) task.OnText(line, true);
      return;
    }
    case 10: {
      const auto code = static_cast<std::int8_t>(input->Byte());
      if (!world->exited) Exit(world, code);
      return;
    }
    case 11:
      if (!world->closed) task.OnStreamsClosed();
      world->closed = true;
      return;
    case 12: return task.Kill(Launcher::Signal::kTerminate);
    case 13:
      if (world->helped.empty()) return task.OnBrokenChannel();
      // A helper answers with whole frames.
      const auto done = std::move(world->helped.front());
      world->helped.pop_front();
      done(input->Byte() % 2 == 0 ? "" : *ResponseFrame(1, "{}", ""));
      return;
  }
}

// The process ends, and what is open is answered with network failures: all must be over then.
void RunOut(World* world, FakeClock* clock) {
  if (!world->exited) Exit(world, 1);
  if (!world->closed) world->task->OnStreamsClosed();
  world->closed = true;
  for (int turn = 0; turn < 4 * kEventsMax && world->reports.empty(); ++turn) {
    if (world->api.waits()) world->api.FailToConnect();
    if (!world->helped.empty()) {
      const auto done = std::move(world->helped.front());
      world->helped.pop_front();
      done("");
    }
    if (!world->uploads.empty()) {
      const auto done = std::move(world->uploads.front());
      world->uploads.pop_front();
      done();
    }
    clock->Advance(Duration{100'000});
    world->task->Tick();
    (void)world->task->due();
  }
  Require(world->reports.size() == 1, "a task that does not end, or ends twice");
}

// A task that meets only what is right: it must succeed.
void Bystander(const SuperviseSettings& settings, FakeClock* clock) {
  World world(settings, *clock, "bystander");
  world.task->Begin(43);
  world.api.Answer(200, kContext);
  Require(world.frames == 1, "the other task was not started");
  const auto packed = nlohmann::ordered_json::to_msgpack(
      nlohmann::ordered_json::array({1, {{"type", "SucceedTask"}, {"state", "success"}}, nullptr}));
  world.task->OnRequest({packed.begin(), packed.end()});
  world.api.Answer(204);
  Exit(&world, 0);
  world.closed = true;
  world.task->OnStreamsClosed();
  RunOut(&world, clock);
  Require(world.reports.front().outcome == "success", "the other task failed");
}

}  // namespace
}  // namespace zkexec::fuzz

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  spdlog::set_level(spdlog::level::off);
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace zkexec::fuzz;
  Input input(data, size);
  zkexec::FakeClock clock;
  zkexec::SuperviseSettings settings;
  settings.hostname = "here";
  settings.retries = {3, zkexec::Duration{10}, zkexec::Duration{50}};
  settings.remote_logs = input.Byte() % 2 == 1;
  World world(settings, clock, "task");
  world.task->Begin(42);
  for (int event = 0; event < kEventsMax && !input.empty() && world.reports.empty(); ++event)
    Happen(&world, &clock, &input);
  if (world.reports.empty()) RunOut(&world, &clock);
  Bystander(settings, &clock);
  return 0;
}
