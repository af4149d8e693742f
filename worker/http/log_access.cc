// SPDX-License-Identifier: Apache-2.0
#include "worker/http/log_access.h"

#include <filesystem>
#include <optional>
#include <system_error>
#include <utility>

namespace zkexec {
namespace {

namespace fs = std::filesystem;

constexpr char kAudience[] = "task-instance-logs";
constexpr std::string_view kBearer = "Bearer ";

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// "+" stays: run ids contain "+00:00", and in a path it does not mean a space.
std::optional<std::string> PercentDecode(std::string_view raw) {
  std::string decoded;
  decoded.reserve(raw.size());
  for (std::size_t i = 0; i < raw.size(); ++i) {
    if (raw[i] != '%') {
      decoded += raw[i];
      continue;
    }
    if (raw.size() - i < 3) return std::nullopt;
    const int high = HexDigit(raw[i + 1]);
    const int low = HexDigit(raw[i + 2]);
    if (high < 0 || low < 0) return std::nullopt;
    decoded += static_cast<char>(high * 16 + low);
    i += 2;
  }
  return decoded;
}

bool HasParentSegment(std::string_view path) {
  while (true) {
    const auto slash = path.find('/');
    if (path.substr(0, slash) == "..") return true;
    if (slash == std::string_view::npos) return false;
    path.remove_prefix(slash + 1);
  }
}

LogAccess::Verdict Refuse(int status, std::string why) { return {status, "", std::move(why)}; }

}  // namespace

LogAccess::LogAccess(std::string base_folder, std::string secret, std::int64_t clock_grace_s)
    : base_folder_(std::move(base_folder)),
      verifier_(std::move(secret), kAudience, clock_grace_s) {}

LogAccess::Verdict LogAccess::Check(std::string_view raw_path, std::string_view authorization,
                                    std::int64_t now_epoch_s) const {
  const auto path = PercentDecode(raw_path);
  if (!path) return Refuse(400, "the path has a broken percent-encoding");
  if (path->empty() || path->front() == '/' || path->find('\0') != std::string::npos ||
      HasParentSegment(*path)) {
    return Refuse(400, "the path must be relative, without \"..\" and NUL");
  }

  if (authorization.empty()) return Refuse(403, "the Authorization header is missing");
  if (authorization.starts_with(kBearer)) {
    return Refuse(403, "the Authorization header must be the bare token, without \"Bearer\"");
  }
  const auto filename =
      verifier_.VerifiedClaim(std::string(authorization), "filename", now_epoch_s);
  if (!filename) return Refuse(403, filename.error().message);
  if (*filename != *path) return Refuse(403, "the token was issued for another file");
  return Locate(*path);
}

// Symlinks are allowed as long as they stay inside the base folder.
LogAccess::Verdict LogAccess::Locate(const std::string& relative_path) const {
  std::error_code error;
  const auto base = fs::canonical(base_folder_, error);
  if (error) return Refuse(404, "the log folder cannot be read: " + error.message());
  const auto file = fs::canonical(base / relative_path, error);
  if (error) return Refuse(404, "the log file cannot be found: " + error.message());
  const std::string inside = base == base.root_path() ? base.string() : base.string() + "/";
  if (!file.string().starts_with(inside)) {
    return Refuse(404, "the log file is a link that leaves the log folder");
  }
  if (!fs::is_regular_file(file, error)) return Refuse(404, "the path is not a regular file");
  return {200, file.string(), ""};
}

}  // namespace zkexec
