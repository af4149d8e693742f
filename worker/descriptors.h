// SPDX-License-Identifier: Apache-2.0
// Descriptors: how many files this process has open, and how many it may. Pure reads of the kernel;
// any thread.
#pragma once

namespace zkexec {

struct Descriptors {
  int open = 0;  // 0 if the kernel does not say
  int most = 0;  // the soft limit; 0 without one
};
Descriptors CountDescriptors();

}  // namespace zkexec
