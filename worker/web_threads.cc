// SPDX-License-Identifier: Apache-2.0
#include "worker/web_threads.h"

// clang-format off: boost needs std::exchange and forgets to include it.
#include <utility>
// clang-format on

#include <openssl/crypto.h>
#include <pplx/threadpool.h>

#include <csignal>
#include <exception>

namespace zkexec {

bool StartWebThreadsOnce() {
  static const bool ours = [] {
    // Before the pool, so that OpenSSL outlives its threads when the process exits.
    OPENSSL_init_crypto(OPENSSL_INIT_LOAD_CONFIG, nullptr);
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    bool started = true;
    try {
      crossplat::threadpool::initialize_with_threads(kWebThreads);
    } catch (const std::exception&) {
      started = false;
    }
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    return started;
  }();
  return ours;
}

}  // namespace zkexec
