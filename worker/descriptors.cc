// SPDX-License-Identifier: Apache-2.0
#include "worker/descriptors.h"

#include <sys/resource.h>

#include <algorithm>
#include <filesystem>
#include <limits>

namespace zkexec {

Descriptors CountDescriptors() {
  Descriptors counted;
  std::error_code error;
  for (std::filesystem::directory_iterator it("/proc/self/fd", error), end; !error && it != end;
       it.increment(error)) {
    ++counted.open;
  }
  if (counted.open > 0) --counted.open;  // that of the listing
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) {
    counted.most =
        static_cast<int>(std::min<rlim_t>(limit.rlim_cur, std::numeric_limits<int>::max()));
  }
  return counted;
}

}  // namespace zkexec
