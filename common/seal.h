// SPDX-License-Identifier: Apache-2.0
// Sealer: keeps workloads unreadable in ZooKeeper. A workload carries a bearer
// token; anyone who can read the znode or the transaction log must not get it.
//
// Sealed form: version byte 1, 12 bytes nonce, AES-256-GCM of zstd(plain), 16
// bytes tag. The key is HKDF-SHA256 of the operators' secret. `context` (the
// dispatch id) is authenticated: a sealed workload can't be moved to another.
//
// Immutable after construction; safe from any thread. Doesn't block.
#pragma once

#include <array>
#include <cstddef>
#include <string>

#include "common/result.h"

namespace zkexec {

class Sealer {
 public:
  // Errors: kInvalid if the secret is shorter than 8 bytes.
  static Result<Sealer> Make(const std::string& secret);

  // Errors: kInternal.
  Result<std::string> Seal(const std::string& plain, const std::string& context) const;
  // Errors: kInvalid: damaged, of a newer form, or sealed with another secret.
  Result<std::string> Open(const std::string& sealed, const std::string& context) const;

 private:
  using Key = std::array<unsigned char, 32>;
  explicit Sealer(const Key& key) : key_(key) {}
  Key key_;
};

}  // namespace zkexec
