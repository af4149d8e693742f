// SPDX-License-Identifier: Apache-2.0
#include "common/server_list.h"

#include <arpa/inet.h>

#include <algorithm>

namespace zkexec {
namespace {

constexpr int kDefaultPort = 2181;
constexpr int kPortMax = 65535;
constexpr char kBlanks[] = " \t\r\n\v\f";
constexpr char kDigits[] = "0123456789";
constexpr char kHexDigits[] = "0123456789abcdefABCDEF";
constexpr char kLetters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

bool ConsistsOf(const std::string& text, const std::string& allowed) {
  return !text.empty() && text.find_first_not_of(allowed) == std::string::npos;
}

std::string Trimmed(const std::string& text) {
  const auto first = text.find_first_not_of(kBlanks);
  if (first == std::string::npos) return "";
  return text.substr(first, text.find_last_not_of(kBlanks) - first + 1);
}

bool IsIpv6(const std::string& text) {
  in6_addr address{};
  return text.find('\0') == std::string::npos && inet_pton(AF_INET6, text.c_str(), &address) == 1;
}

bool IsHostName(const std::string& text) {
  return ConsistsOf(text, std::string(kLetters) + kDigits + "_.-") && text[0] != '-' &&
         text[0] != '.';
}

// 0 if it is none.
int PortOf(const std::string& digits) {
  if (!ConsistsOf(digits, kDigits) || digits.size() > 5) return 0;
  const int port = std::stoi(digits);
  return port <= kPortMax ? port : 0;
}

std::string Lower(std::string text) {
  for (auto& c : text) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return text;
}

Error Invalid(const std::string& message) { return Error{ErrorCode::kInvalid, message}; }

}  // namespace

Result<ServerList::Server> ServerList::ParseServer(const std::string& text) {
  const auto quoted = "'" + text + "'";
  const auto malformed = Invalid(quoted + " is not of the form host:port");
  if (text.find('/') != std::string::npos) {
    return Invalid(quoted + " has a path: put it in front of the root instead");
  }
  Server server;
  std::string rest;  // "" or ":port"
  if (text[0] == '[') {
    const auto end = text.find(']');
    if (end == std::string::npos) return malformed;
    server.host = text.substr(1, end - 1);
    rest = text.substr(end + 1);
    if (!IsIpv6(server.host) || (!rest.empty() && rest[0] != ':')) return malformed;
  } else {
    const auto colon = text.find(':');
    if (text.find(':', colon + 1) != std::string::npos && colon != std::string::npos) {
      if (!ConsistsOf(text, std::string(kHexDigits) + ":.")) return malformed;
      return Invalid(quoted + ": write an IPv6 address in brackets, as in [::1]:2181");
    }
    server.host = text.substr(0, colon);
    if (colon != std::string::npos) rest = text.substr(colon);
    if (!IsHostName(server.host)) return malformed;
  }
  server.port = rest.empty() ? kDefaultPort : PortOf(rest.substr(1));
  if (server.port == 0) {
    return Invalid(quoted + ": the port must be 1 to " + std::to_string(kPortMax));
  }
  return server;
}

Result<ServerList> ServerList::Parse(const std::string& text) {
  ServerList list;
  for (std::size_t begin = 0; begin <= text.size();) {
    const auto end = std::min(text.find(',', begin), text.size());
    const auto part = Trimmed(text.substr(begin, end - begin));
    begin = end + 1;
    if (part.empty()) continue;
    const auto server = ParseServer(part);
    if (!server) return server.error();
    const bool known =
        std::any_of(list.servers_.begin(), list.servers_.end(), [&](const Server& other) {
          return other.port == server->port && Lower(other.host) == Lower(server->host);
        });
    if (!known) list.servers_.push_back(*server);
  }
  if (list.servers_.empty()) return Invalid("must name at least one server, as host:port");
  return list;
}

std::string ServerList::ToString() const {
  std::string all;
  for (const auto& server : servers_) {
    const bool ipv6 = server.host.find(':') != std::string::npos;
    all += (all.empty() ? "" : ",") + (ipv6 ? "[" + server.host + "]" : server.host) + ":" +
           std::to_string(server.port);
  }
  return all;
}

std::string ServerList::ForClient() const {
  std::string all;
  for (const auto& server : servers_) {
    all += (all.empty() ? "" : ",") + server.host + ":" + std::to_string(server.port);
  }
  return all;
}

}  // namespace zkexec
