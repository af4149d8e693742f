// SPDX-License-Identifier: Apache-2.0
#include "common/ids.h"

#include <sys/random.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

namespace zkexec {

std::string RandomHex() {
  unsigned char bytes[16];
  // Up to 256 bytes are never interrupted nor short once the pool is ready.
  if (getrandom(bytes, sizeof bytes, 0) != sizeof bytes) std::abort();
  std::string text;
  for (const unsigned char byte : bytes) {
    char hex[3];
    std::snprintf(hex, sizeof hex, "%02x", byte);
    text += hex;
  }
  return text;
}

std::string HostName() {
  char name[256] = {};
  if (gethostname(name, sizeof name - 1) != 0) return "unknown";
  return name;
}

}  // namespace zkexec
