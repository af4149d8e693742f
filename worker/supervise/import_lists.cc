// SPDX-License-Identifier: Apache-2.0
#include "worker/supervise/import_lists.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "common/log.h"
#include "worker/json_fields.h"

namespace zkexec {
namespace {

constexpr Duration kForgetAfter{3600'000};
// What could not be read is not tried for each task.
constexpr Duration kRetryAfter{60'000};
constexpr std::size_t kEntriesMax = 5000;

}  // namespace

ImportLists::ImportLists(Scan scan, const Clock& clock, Known known)
    : scan_(std::move(scan)), clock_(clock), known_(std::move(known)) {}

const std::string* ImportLists::Find(const DagFile& file) {
  if (!entries_.contains(file) && entries_.size() >= kEntriesMax) return nullptr;
  auto& entry = entries_[file];
  entry.asked_at = clock_.Now();
  if (entry.known && PathState::AllUnchanged(entry.answer.paths)) return &entry.answer.imports;
  if (std::exchange(entry.known, false)) entry.asked = 0;
  ++entry.asked;
  if (!entry.file.empty() && entry.scan == nullptr && clock_.Now() - entry.read_at >= kRetryAfter)
    Read(file, entry);
  return nullptr;
}

void ImportLists::Locate(const nlohmann::json& message) {
  JsonFields fields(message, "a located DAG file");
  const auto* version = fields.Find("version");
  const DagFile file{fields.Text("bundle"),
                     version == nullptr || version->is_null() ? "" : fields.Text("version"),
                     fields.Text("path")};
  const auto found = entries_.find(file);
  if (!fields.status() || found == entries_.end()) return;
  auto& entry = found->second;
  entry.file = fields.Text("file");
  entry.bundle_path = fields.Text("bundle_path");
  if (!entry.known && entry.scan == nullptr) Read(file, entry);
}

void ImportLists::Read(const DagFile& file, Entry& entry) {
  entry.read_at = clock_.Now();
  entry.scan =
      scan_({{"file", entry.file}, {"bundle_path", entry.bundle_path}},
            [this, file](ImportScan::Answer answer) { OnScanned(file, std::move(answer)); });
}

void ImportLists::OnScanned(const DagFile& file, ImportScan::Answer answer) {
  const auto found = entries_.find(file);
  if (found == entries_.end()) return;
  auto& entry = found->second;
  ended_.push_back(std::move(entry.scan));  // we stand on its call
  if (!answer.reason.empty()) {
    spdlog::info("the imports of a DAG file are not known path={} reason={} detail=\"{}\"",
                 file.path, answer.reason, answer.detail);
    return;
  }
  entry.known = true;
  entry.answer = std::move(answer);
  entry.read_at = {};  // a change is looked at at once
  known_(entry.answer.imports, entry.asked);
}

void ImportLists::Tick() {
  ended_.clear();
  std::erase_if(entries_, [this](const auto& one) {
    return one.second.scan == nullptr && clock_.Now() - one.second.asked_at > kForgetAfter;
  });
}

}  // namespace zkexec
