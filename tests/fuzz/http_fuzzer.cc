// SPDX-License-Identifier: Apache-2.0
// Any bytes from a client: what comes back is a row of whole answers of kinds that we give, the
// connection then ends by itself, and the process lives.
//
//   input = size of a packet (1 byte) what the client sends, in such packets, before it ends
//
// "@TOKEN@" is replaced by a token with which /log/a.log may be read.
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include "tests/fuzz/invariants.h"
#include "tests/unit/worker/http/log_token.h"
#include "tests/unit/worker/temp_folder.h"
#include "worker/http/connection.h"

namespace zkexec::fuzz {
namespace {

constexpr std::array kStatuses{200, 400, 403, 404, 405, 413, 431, 503};
constexpr std::size_t kLogBytes = 140'000;  // more than one piece
constexpr char kMark[] = "@TOKEN@";
// Rounds in which nothing happens until the connection counts as stuck.
constexpr int kStuckRounds = 100;

// What does not change from input to input.
struct World {
  World() { folder.Write("a.log", std::string(kLogBytes, 'l')); }

  TempFolder folder;
  std::shared_ptr<const Pages> pages = std::make_shared<const Pages>(
      HttpHandlers{.metrics_text = [] { return std::string("up 1\n"); },
                   .live = [] { return HttpHealth{true, "{}"}; },
                   .ready = [] { return HttpHealth{false, "{\"ready\":false}"}; },
                   .epoch_s = [] { return kTestNow; }},
      LogAccess(folder.path().string(), kTestSecret, kTestGrace));
  std::string token = LogToken{.filename = "a.log"}.Encode();
};

const World& TheWorld() {
  static const World world;
  return world;
}

class OneConnection : public Connection::Owner {
 public:
  bool PostFileWork(std::function<void()> work) override {
    work();
    return true;
  }
  void Ended(Connection&) override { ended = true; }
  bool ended = false;
};

// Sends the input, and reads what comes back until the server hangs up.
std::string Converse(std::string_view input, std::size_t packet) {
  int ends[2];
  Require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0, "socket");
  auto io = std::make_shared<boost::asio::io_context>();
  OneConnection owner;
  Connection::Socket socket(*io);
  socket.assign(boost::asio::generic::stream_protocol(AF_UNIX, 0), ends[1]);
  const auto connection = std::make_shared<Connection>(io, std::move(socket), TheWorld().pages,
                                                       ConnectionLimits{}, owner);
  connection->Start();
  std::string output;
  std::array<char, 65536> buffer;
  bool told_end = false;
  for (int idle = 0; idle < kStuckRounds && !(owner.ended && idle > 0); ++idle) {
    if (!input.empty()) {
      const auto sent = send(ends[0], input.data(), std::min(packet, input.size()), MSG_NOSIGNAL);
      if (sent > 0) {
        idle = -1;
        input.remove_prefix(static_cast<std::size_t>(sent));
      } else if (errno != EAGAIN) {
        input = {};  // the server has hung up
      }
    } else if (!std::exchange(told_end, true)) {
      shutdown(ends[0], SHUT_WR);
      idle = -1;
    }
    if (io->poll() > 0) idle = -1;
    for (ssize_t got = 1; got > 0;) {
      got = recv(ends[0], buffer.data(), buffer.size(), 0);
      if (got > 0) output.append(buffer.data(), static_cast<std::size_t>(got)), idle = -1;
    }
  }
  Require(owner.ended, "a connection that does not end", output.substr(0, 2000));
  io->poll();
  close(ends[0]);
  return output;
}

// Takes one answer from the front.
void TakeAnswer(std::string_view& rest) {
  const auto shown = rest;
  Require(rest.starts_with("HTTP/1.1 ") && rest.size() > 13, "no status line", shown);
  const int status = std::atoi(std::string(rest.substr(9, 3)).c_str());
  Require(std::find(kStatuses.begin(), kStatuses.end(), status) != kStatuses.end(),
          "a status that we don't give", shown);
  const auto end = rest.find("\r\n\r\n");
  Require(end != std::string_view::npos, "a head without its end", shown);
  const auto head = rest.substr(0, end + 2);
  rest.remove_prefix(end + 4);
  const std::string_view name = "\r\nContent-Length: ";
  const auto length = head.find(name);
  Require(length != std::string_view::npos && head.find(name, length + 1) == head.npos,
          "not one Content-Length", shown);
  Require((status == 405) == (head.find("\r\nAllow: GET, HEAD\r\n") != head.npos), "Allow", shown);
  const auto bytes = std::strtoull(head.data() + length + name.size(), nullptr, 10);
  // After HEAD there is no body; none of our bodies begins like an answer.
  if (rest.empty() || rest.starts_with("HTTP/1.1 ")) return;
  Require(rest.size() >= bytes, "a body that is cut", shown);
  rest.remove_prefix(bytes);
  const bool last = head.find("\r\nConnection: close\r\n") != head.npos;
  Require(!last || rest.empty(), "an answer after the last", rest);
}

void Examine(std::string input, std::size_t packet) {
  for (auto at = input.find(kMark); at != std::string::npos; at = input.find(kMark, at))
    input.replace(at, sizeof(kMark) - 1, TheWorld().token);
  const auto output = Converse(input, packet);
  for (std::string_view rest = output; !rest.empty();) TakeAnswer(rest);
}

}  // namespace
}  // namespace zkexec::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  zkexec::fuzz::Examine(std::string(reinterpret_cast<const char*>(data + 1), size - 1),
                        data[0] == 0 ? 65536 : data[0]);
  return 0;
}
