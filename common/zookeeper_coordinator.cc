// SPDX-License-Identifier: Apache-2.0
// The one file that includes zookeeper.h.
#include "common/zookeeper_coordinator.h"

#include <fcntl.h>
#include <poll.h>
#include <zookeeper/zookeeper.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>
#include <optional>

#include "common/repeated_log.h"
#include "common/server_list.h"

namespace zkexec {

namespace {

constexpr Duration kReopenDelay{1000};
constexpr int kRepliesPerTurn = 200;

ErrorCode CodeOf(int rc) {
  switch (rc) {
    case ZNONODE: return ErrorCode::kNotFound;
    case ZNODEEXISTS: return ErrorCode::kAlreadyExists;
    case ZBADVERSION:
    case ZNOTEMPTY: return ErrorCode::kConflict;
    case ZSESSIONEXPIRED:
    case ZINVALIDSTATE:
    case ZAUTHFAILED: return ErrorCode::kSessionExpired;
    case ZCONNECTIONLOSS:
    case ZOPERATIONTIMEOUT:
    case ZCLOSING: return ErrorCode::kUnavailable;
    case ZNOAUTH:
    case ZBADARGUMENTS:
    case ZINVALIDACL:
    case ZNOCHILDRENFOREPHEMERALS: return ErrorCode::kInvalid;
    default: return ErrorCode::kInternal;
  }
}

bool IsValidPath(const std::string& path) {
  return !path.empty() && path[0] == '/' && (path.size() == 1 || path.back() != '/') &&
         path.find("//") == std::string::npos && path.find('\0') == std::string::npos;
}

NodeStat ToStat(const Stat& stat) {
  return {stat.version, stat.numChildren, stat.czxid, stat.ctime, stat.ephemeralOwner};
}

int ModeFlags(NodeMode mode) {
  switch (mode) {
    case NodeMode::kPersistent: return ZOO_PERSISTENT;
    case NodeMode::kEphemeral: return ZOO_EPHEMERAL;
    case NodeMode::kPersistentSequential: return ZOO_PERSISTENT_SEQUENTIAL;
    case NodeMode::kEphemeralSequential: return ZOO_EPHEMERAL_SEQUENTIAL;
  }
  return ZOO_PERSISTENT;
}

}  // namespace

// One operation under way. The client keeps a raw pointer to it until it calls
// back, and it always does (at the latest from zookeeper_close).
struct Pending {
  ZookeeperCoordinator::Impl* owner = nullptr;
  std::uint64_t id = 0;
  const char* kind = "";
  std::string path;  // for messages
  TimePoint sent;
  bool answered = false;  // the deadline passed first
  // Exactly one of these is set.
  Coordinator::MultiCallback multi;
  Coordinator::DataCallback data;
  Coordinator::NamesCallback names;
  Coordinator::StatCallback stat;
  Coordinator::StatusCallback status;
  // Of a multi: what the client reads and writes until it calls back.
  std::vector<Op> ops;
  std::vector<zoo_op_t> raw_ops;
  std::vector<zoo_op_result_t> raw_results;
  std::vector<std::string> buffers;
  std::vector<Stat> stats;

  void Fail(const Error& error) {
    if (multi) multi(error);
    if (data) data(error);
    if (names) names(error);
    if (stat) stat(error);
    if (status) status(error);
  }
};

struct ZookeeperCoordinator::Impl {
  Impl(Options o, const Clock& c) : options(std::move(o)), clock(c) {}

  const Options options;
  const Clock& clock;
  Listener* listener = nullptr;
  zhandle_t* handle = nullptr;
  SessionState state = SessionState::kConnecting;
  bool reopen = true;
  bool resumed = false;  // or tried to
  SessionId told_session = 0;
  TimePoint reopen_at{};
  TimePoint lease_from{};
  int negotiated_ms = 0;
  int last_fd = -1;
  std::string error;
  std::uint64_t next_id = 1;
  std::map<std::uint64_t, Pending*> pending;
  std::map<std::uint64_t, Pending*> unanswered;  // those of pending whose deadline is ahead
  // Refused before they reached the client; answered on the next turn.
  std::deque<std::pair<std::unique_ptr<Pending>, Error>> refused;

  void Open();
  void Close();
  void OnState(int raw_state);
  std::unique_ptr<Pending> Make(const char* kind, const std::string& path);
  // `submit` calls the client with the raw pointer and returns its code.
  template <typename Submit>
  void Send(std::unique_ptr<Pending> op, bool valid, Submit submit);
  // Takes the operation back from the client. Null if it was answered before.
  std::unique_ptr<Pending> Take(const void* raw, int rc);
  void ExpireOverdue();
  bool MoreToRead() const {
    if (handle == nullptr || reopen || last_fd < 0 || is_unrecoverable(handle) != ZOK) return false;
    pollfd readable{last_fd, POLLIN, 0};
    return poll(&readable, 1, 0) == 1 && readable.revents == POLLIN;
  }
  void AnswerRefused();
  Error ErrorOf(const Pending& op, int rc) const {
    // What the close of an expired handle flushes out was lost with the session.
    const auto code = state == SessionState::kExpired ? ErrorCode::kSessionExpired : CodeOf(rc);
    return {code, std::string(op.kind) + " " + op.path + ": " + zerror(rc)};
  }
};

namespace {

void OnWatch(zhandle_t*, int type, int raw_state, const char* path, void* context) {
  auto* impl = static_cast<ZookeeperCoordinator::Impl*>(context);
  if (type == ZOO_SESSION_EVENT) {
    impl->OnState(raw_state);
  } else if (impl->listener != nullptr && type != ZOO_NOTWATCHING_EVENT) {
    impl->listener->OnChanged(path);
  }
}

void OnMulti(int rc, const void* raw) {
  auto* owner = static_cast<const Pending*>(raw)->owner;
  auto op = owner->Take(raw, rc);
  if (!op) return;
  if (rc != ZOK) {
    auto error = owner->ErrorOf(*op, rc);
    for (std::size_t i = 0; i < op->raw_results.size(); ++i) {
      const int err = op->raw_results[i].err;
      // Operations before the bad one carry 0, later ones RUNTIMEINCONSISTENCY.
      if (err == ZOK || err == ZRUNTIMEINCONSISTENCY) continue;
      error.failed_op = static_cast<int>(i);
      error.message = std::string(op->kind) + " " + op->ops[i].path + ": " + zerror(rc);
      break;
    }
    op->multi(error);
    return;
  }
  std::vector<OpResult> results(op->ops.size());
  for (std::size_t i = 0; i < results.size(); ++i) {
    if (op->ops[i].kind == Op::Kind::kCreate) results[i].path = op->buffers[i].c_str();
    if (op->ops[i].kind == Op::Kind::kSet) results[i].stat = ToStat(op->stats[i]);
  }
  op->multi(std::move(results));
}

void OnData(int rc, const char* value, int length, const Stat* stat, const void* raw) {
  auto* owner = static_cast<const Pending*>(raw)->owner;
  auto op = owner->Take(raw, rc);
  if (!op) return;
  if (rc != ZOK) {
    op->data(owner->ErrorOf(*op, rc));
    return;
  }
  NodeData data;
  if (value != nullptr && length > 0) data.data.assign(value, static_cast<std::size_t>(length));
  data.stat = ToStat(*stat);
  op->data(std::move(data));
}

void OnNames(int rc, const String_vector* names, const void* raw) {
  auto* owner = static_cast<const Pending*>(raw)->owner;
  auto op = owner->Take(raw, rc);
  if (!op) return;
  if (rc != ZOK) {
    op->names(owner->ErrorOf(*op, rc));
    return;
  }
  std::vector<std::string> list;
  for (int i = 0; i < names->count; ++i) list.emplace_back(names->data[i]);
  op->names(std::move(list));
}

void OnStat(int rc, const Stat* stat, const void* raw) {
  auto* owner = static_cast<const Pending*>(raw)->owner;
  auto op = owner->Take(raw, rc);
  if (!op) return;
  if (rc != ZOK) {
    op->stat(owner->ErrorOf(*op, rc));
  } else {
    op->stat(ToStat(*stat));
  }
}

void OnSynced(int rc, const char*, const void* raw) {
  auto* owner = static_cast<const Pending*>(raw)->owner;
  auto op = owner->Take(raw, rc);
  if (!op) return;
  if (rc != ZOK) {
    op->status(owner->ErrorOf(*op, rc));
  } else {
    op->status(Done{});
  }
}

// What the client has to say goes to stderr, as it would without us, but each kind once a minute:
// while no server answers it says so at each attempt. The client doesn't say for which handle.
void OnClientLog(const char* message) {
  static std::mutex mutex;
  static RepeatedLog log{Duration{60000}};
  const std::lock_guard lock(mutex);
  if (const auto line = log.Admit(message, SystemClock().Now())) {
    std::fprintf(stderr, "%s\n", line->c_str());
  }
}

// A wrong password shows only in the state: the completion has nothing to add.
void OnAuth(int, const void*) {}

}  // namespace

void ZookeeperCoordinator::Impl::Open() {
  reopen = false;
  zoo_set_debug_level(ZOO_LOG_LEVEL_ERROR);
  clientid_t id{};
  const bool resume = options.resume && !resumed;
  if (resume) {
    id.client_id = options.resume->id;
    options.resume->password.copy(id.passwd, sizeof id.passwd);
  }
  const auto servers = ServerList::Parse(options.hosts);
  if (servers) {
    handle = zookeeper_init2(servers->ForClient().c_str(), OnWatch,
                             static_cast<int>(options.session_timeout.count()),
                             resume ? &id : nullptr, this, 0, OnClientLog);
  }
  if (handle == nullptr) {
    error = "cannot use ZooKeeper hosts '" + options.hosts +
            "': " + (servers ? std::strerror(errno) : servers.error().message);
    reopen = true;
    reopen_at = clock.Now() + kReopenDelay;
    return;
  }
  resumed = true;
  // Otherwise each turn of the loop resolves the hosts' names: it still does so after a loss.
  zoo_set_servers_resolution_delay(handle, -1);
  if (!options.digest_auth.empty()) {
    zoo_add_auth(handle, "digest", options.digest_auth.c_str(),
                 static_cast<int>(options.digest_auth.size()), OnAuth, nullptr);
  }
}

void ZookeeperCoordinator::Impl::Close() {
  if (handle == nullptr) return;
  auto* old = handle;
  handle = nullptr;  // callbacks during the close must not submit to it
  last_fd = -1;
  zookeeper_close(old);
}

void ZookeeperCoordinator::Impl::OnState(int raw_state) {
  auto next = SessionState::kConnecting;
  if (raw_state == ZOO_CONNECTED_STATE) {
    next = SessionState::kConnected;
    error.clear();
    negotiated_ms = zoo_recv_timeout(handle);
    lease_from = clock.Now();
    const auto* id = zoo_client_id(handle);
    if (id->client_id != told_session && options.on_session) {
      options.on_session({id->client_id, std::string(id->passwd, sizeof id->passwd)});
    }
    told_session = id->client_id;
  } else if (raw_state == ZOO_EXPIRED_SESSION_STATE) {
    next = SessionState::kExpired;
    reopen = true;
    reopen_at = clock.Now();
  } else if (raw_state == ZOO_AUTH_FAILED_STATE) {
    next = SessionState::kAuthFailed;
    error = "ZooKeeper refused the credentials: check [zk_executor] digest_auth";
    reopen = true;
    reopen_at = clock.Now() + kReopenDelay;
  }
  if (next == state && next != SessionState::kExpired) return;
  state = next;
  if (listener != nullptr) listener->OnSession(next);
}

std::unique_ptr<Pending> ZookeeperCoordinator::Impl::Make(const char* kind,
                                                          const std::string& path) {
  auto op = std::make_unique<Pending>();
  op->owner = this;
  op->id = next_id++;
  op->kind = kind;
  op->path = path;
  op->sent = clock.Now();
  return op;
}

template <typename Submit>
void ZookeeperCoordinator::Impl::Send(std::unique_ptr<Pending> op, bool valid, Submit submit) {
  if (!valid) {
    const Error bad{ErrorCode::kInvalid, "not a valid ZooKeeper path: '" + op->path + "'"};
    refused.emplace_back(std::move(op), bad);
    return;
  }
  if (handle == nullptr || is_unrecoverable(handle) != ZOK) {
    const Error dead{ErrorCode::kSessionExpired,
                     std::string(op->kind) + " " + op->path + ": no ZooKeeper session"};
    refused.emplace_back(std::move(op), dead);
    return;
  }
  auto* raw = op.release();
  pending.emplace(raw->id, raw);
  unanswered.emplace(raw->id, raw);
  const int rc = submit(raw);
  if (rc == ZOK) return;
  pending.erase(raw->id);
  unanswered.erase(raw->id);
  std::unique_ptr<Pending> back(raw);
  const auto failure = ErrorOf(*back, rc);
  refused.emplace_back(std::move(back), failure);
}

std::unique_ptr<Pending> ZookeeperCoordinator::Impl::Take(const void* raw, int rc) {
  std::unique_ptr<Pending> op(static_cast<Pending*>(const_cast<void*>(raw)));
  pending.erase(op->id);
  unanswered.erase(op->id);
  const auto code = CodeOf(rc);
  if (rc == ZOK || (code != ErrorCode::kUnavailable && code != ErrorCode::kSessionExpired)) {
    lease_from = std::max(lease_from, op->sent);
    if (options.on_latency) {
      options.on_latency(op->kind, std::chrono::duration<double>(clock.Now() - op->sent).count());
    }
  }
  if (op->answered) return nullptr;
  return op;
}

void ZookeeperCoordinator::Impl::ExpireOverdue() {
  if (unanswered.empty()) return;
  const auto limit = clock.Now() - options.operation_timeout;
  std::vector<Pending*> overdue;
  for (const auto& [id, op] : unanswered) {
    if (op->sent > limit) break;  // ids and sending times grow together
    overdue.push_back(op);
  }
  for (const auto* op : overdue) unanswered.erase(op->id);
  for (auto* op : overdue) {
    op->answered = true;
    op->Fail({ErrorCode::kUnavailable,
              std::string(op->kind) + " " + op->path + ": no reply within the deadline"});
  }
}

void ZookeeperCoordinator::Impl::AnswerRefused() {
  if (refused.empty()) return;
  auto now = std::move(refused);
  refused.clear();
  for (auto& [op, failure] : now) op->Fail(failure);
}

ZookeeperCoordinator::ZookeeperCoordinator(Options options, const Clock& clock)
    : impl_(std::make_unique<Impl>(std::move(options), clock)) {}

ZookeeperCoordinator::~ZookeeperCoordinator() { Close(); }

void ZookeeperCoordinator::Close() {
  impl_->listener = nullptr;
  impl_->reopen = false;
  impl_->Close();
  impl_->AnswerRefused();
  impl_->refused.clear();
}

void ZookeeperCoordinator::SetListener(Listener* listener) { impl_->listener = listener; }
SessionState ZookeeperCoordinator::state() const { return impl_->state; }
std::string ZookeeperCoordinator::last_error() const { return impl_->error; }

SessionId ZookeeperCoordinator::session() const {
  return impl_->handle == nullptr ? 0 : zoo_client_id(impl_->handle)->client_id;
}

TimePoint ZookeeperCoordinator::lease_until() const {
  return impl_->lease_from + Duration(impl_->negotiated_ms * 8 / 10);
}

void ZookeeperCoordinator::Multi(std::vector<Op> ops, MultiCallback done) {
  auto op = impl_->Make("multi", ops.empty() ? "" : ops[0].path);
  op->multi = std::move(done);
  op->ops = std::move(ops);
  bool valid = !op->ops.empty();
  const auto count = op->ops.size();
  op->raw_ops.resize(count);
  op->raw_results.resize(count);
  op->buffers.resize(count);
  op->stats.resize(count);
  const auto* acl =
      impl_->options.digest_auth.empty() ? &ZOO_OPEN_ACL_UNSAFE : &ZOO_CREATOR_ALL_ACL;
  for (std::size_t i = 0; i < count; ++i) {
    const auto& one = op->ops[i];
    if (!IsValidPath(one.path)) {
      valid = false;
      op->path = one.path;
      break;
    }
    const int length = static_cast<int>(one.data.size());
    switch (one.kind) {
      case Op::Kind::kCreate:
        // A buffer too small would silently cut the sequence number off.
        op->buffers[i].resize(one.path.size() + 16);
        zoo_create_op_init(&op->raw_ops[i], one.path.c_str(), one.data.data(), length, acl,
                           ModeFlags(one.mode), op->buffers[i].data(),
                           static_cast<int>(op->buffers[i].size()));
        break;
      case Op::Kind::kRemove:
        zoo_delete_op_init(&op->raw_ops[i], one.path.c_str(), one.version);
        break;
      case Op::Kind::kSet:
        zoo_set_op_init(&op->raw_ops[i], one.path.c_str(), one.data.data(), length, one.version,
                        &op->stats[i]);
        break;
      case Op::Kind::kCheck:
        zoo_check_op_init(&op->raw_ops[i], one.path.c_str(), one.version);
        break;
    }
  }
  auto* handle = impl_->handle;
  impl_->Send(std::move(op), valid, [handle, count](Pending* raw) {
    return zoo_amulti(handle, static_cast<int>(count), raw->raw_ops.data(), raw->raw_results.data(),
                      OnMulti, raw);
  });
}

void ZookeeperCoordinator::Get(const std::string& path, Watch watch, DataCallback done) {
  auto op = impl_->Make("get", path);
  op->data = std::move(done);
  auto* impl = impl_.get();
  impl->Send(std::move(op), IsValidPath(path), [impl, watch](Pending* raw) {
    return zoo_awget(impl->handle, raw->path.c_str(), watch == Watch::kYes ? OnWatch : nullptr,
                     impl, OnData, raw);
  });
}

void ZookeeperCoordinator::Children(const std::string& path, Watch watch, NamesCallback done) {
  auto op = impl_->Make("children", path);
  op->names = std::move(done);
  auto* impl = impl_.get();
  impl->Send(std::move(op), IsValidPath(path), [impl, watch](Pending* raw) {
    return zoo_awget_children(impl->handle, raw->path.c_str(),
                              watch == Watch::kYes ? OnWatch : nullptr, impl, OnNames, raw);
  });
}

void ZookeeperCoordinator::Exists(const std::string& path, Watch watch, StatCallback done) {
  auto op = impl_->Make("exists", path);
  op->stat = std::move(done);
  auto* impl = impl_.get();
  impl->Send(std::move(op), IsValidPath(path), [impl, watch](Pending* raw) {
    return zoo_awexists(impl->handle, raw->path.c_str(), watch == Watch::kYes ? OnWatch : nullptr,
                        impl, OnStat, raw);
  });
}

void ZookeeperCoordinator::Sync(StatusCallback done) {
  auto op = impl_->Make("sync", "/");
  op->status = std::move(done);
  auto* impl = impl_.get();
  impl->Send(std::move(op), true,
             [impl](Pending* raw) { return zoo_async(impl->handle, "/", OnSynced, raw); });
}

PollSource::Request ZookeeperCoordinator::Prepare() {
  Request request;
  if (impl_->reopen) {
    if (impl_->clock.Now() >= impl_->reopen_at) {
      impl_->Close();
      impl_->state = SessionState::kConnecting;
      impl_->Open();
    }
    if (impl_->reopen) request.wait = kReopenDelay;
  }
  if (!impl_->refused.empty()) request.wait = Duration{0};
  if (impl_->handle == nullptr) return request;
  int fd = -1;
  int interest = 0;
  timeval wait{};
  const int rc = zookeeper_interest(impl_->handle, &fd, &interest, &wait);
  if (rc != ZOK)
    impl_->error = std::string("ZooKeeper ") + impl_->options.hosts + ": " + zerror(rc);
  if (fd >= 0 && fd != impl_->last_fd) {
    // The client leaves its sockets open across exec; a child must not hold our session.
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    impl_->last_fd = fd;
  }
  request.fd = fd;
  if ((interest & ZOOKEEPER_READ) != 0) request.events |= POLLIN;
  if ((interest & ZOOKEEPER_WRITE) != 0) request.events |= POLLOUT;
  const auto client_wait = Duration(wait.tv_sec * 1000 + (wait.tv_usec + 999) / 1000);
  request.wait = std::min(request.wait, client_wait);
  if (!impl_->pending.empty()) request.wait = std::min(request.wait, Duration{200});
  return request;
}

void ZookeeperCoordinator::Ready(short revents) {
  if (impl_->handle != nullptr) {
    int events = 0;
    if ((revents & (POLLIN | POLLHUP | POLLERR)) != 0) events |= ZOOKEEPER_READ;
    if ((revents & POLLOUT) != 0) events |= ZOOKEEPER_WRITE;
    zookeeper_process(impl_->handle, events);
    // One call reads one reply; the loop's turn costs more than to see that there is another.
    const int more_max = (events & ZOOKEEPER_READ) != 0 ? kRepliesPerTurn : 0;
    for (int more = 0; more < more_max && impl_->MoreToRead(); ++more) {
      zookeeper_process(impl_->handle, ZOOKEEPER_READ);
    }
  }
  impl_->ExpireOverdue();
  impl_->AnswerRefused();
}

}  // namespace zkexec
