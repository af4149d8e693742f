// SPDX-License-Identifier: Apache-2.0
#include "worker/orphans.h"

#include <dirent.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/types.h>
#include <sys/wait.h>

#include <cerrno>
#include <ctime>
#include <fstream>
#include <string>
#include <vector>

namespace zkexec {
namespace {

constexpr timespec kLookAgain{0, 10'000'000};

std::vector<pid_t> Children() {
  std::vector<pid_t> found;
  DIR* threads = opendir("/proc/self/task");
  if (threads == nullptr) return found;
  while (const auto* thread = readdir(threads)) {
    if (thread->d_name[0] == '.') continue;
    std::ifstream list(std::string("/proc/self/task/") + thread->d_name + "/children");
    for (pid_t pid = 0; list >> pid;) found.push_back(pid);
  }
  closedir(threads);
  return found;
}

}  // namespace

void BecomeSubreaper() { prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); }

void KillOrphans() {
  for (;;) {
    // Their children become ours as they die; hence the loop.
    for (const pid_t pid : Children()) kill(pid, SIGKILL);
    if (waitpid(-1, nullptr, 0) < 0 && errno == ECHILD) return;
  }
}

std::vector<int> KillOrphans(const Clock& clock, Duration limit) {
  sigset_t ended;
  sigemptyset(&ended);
  sigaddset(&ended, SIGCHLD);
  for (const auto until = clock.Now() + limit;;) {
    for (const pid_t pid : Children()) kill(pid, SIGKILL);
    pid_t reaped = 0;
    do {
      reaped = waitpid(-1, nullptr, WNOHANG);
    } while (reaped > 0);
    if (reaped < 0 && errno == ECHILD) return {};
    if (clock.Now() >= until) return Children();
    // Those that only now became ours may have ended before: no signal tells of them.
    sigtimedwait(&ended, nullptr, &kLookAgain);
  }
}

}  // namespace zkexec
