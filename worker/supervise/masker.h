// SPDX-License-Identifier: Apache-2.0
// Masker: keeps secrets out of one task's log. Airflow's rules (its SecretsMasker): what a
// task names as secret, connections' passwords and extras, variables with telling names.
//
// Pure. Threads: one at a time.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace zkexec {

class Masker {
 public:
  struct Rules {
    bool hide_sensitive_names = true;
    std::vector<std::string> sensitive_names;  // lower case; parts of names
    std::size_t min_length = 5;                // in characters; a shorter secret is shown
    // Since Airflow 3.4: names are also looked at word by word ("privateKey" is "private_key"),
    // and secrets are hidden however deep they are.
    bool thorough = false;
  };
  explicit Masker(const Rules* rules) : rules_(rules) {}

  // From now on `value` is hidden. Of an object each value, under its own key; of an array
  // each item. With a name, only if the name is telling.
  void Add(const nlohmann::ordered_json& value, const std::string& name = "");
  void AddText(const std::string& secret, const std::string& name = "");

  bool ShouldHide(std::string_view name) const;
  // Whether Redact() could change the line: false is certain, true is not.
  bool Concerns(std::string_view json_line) const;
  // A log event, all of it.
  void Redact(nlohmann::ordered_json* event) const;
  std::string RedactText(std::string_view text) const;

 private:
  void Redact(nlohmann::ordered_json* value, std::string_view name, int depth) const;
  bool IsTelling(std::string_view text, bool json) const;

  const Rules* const rules_;
  std::set<std::string> secrets_;
  std::set<std::string> escaped_;  // the same as they look within JSON
};

// Tokens (JSON Web Tokens start like this): "eyJ0eXAi…" becomes "eyJ***".
std::string RedactTokens(std::string_view text);

}  // namespace zkexec
