// SPDX-License-Identifier: Apache-2.0
// The threads of cpprest's pool, on which its client runs.
#pragma once

#include <cstddef>

namespace zkexec {

inline constexpr std::size_t kWebThreads = 4;

// cpprest's pool is one for the process. Its threads inherit a full signal mask, so that
// signals reach the thread that waits for them. False if someone used cpprest before us,
// and made a pool of another size. Call before anything of cpprest's; again does nothing.
bool StartWebThreadsOnce();

}  // namespace zkexec
