// SPDX-License-Identifier: Apache-2.0
// ApiClient: the ExecutionApi over HTTP, with connections that are kept and shared by all
// tasks. api_client.cc alone includes cpprest's client.
//
// A redirect is an answer like any other, as in Airflow's client: following it would hand the
// task's token to whoever is named there. The body of an answer is limited to
// Options::body_bytes_max.
//
// Threads:  Send() on the owner's loop, where the answers come too; cpprest's threads work
//           between. Lifetime: borrows the loop. Answers that come after the end go nowhere.
#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "common/clock.h"
#include "common/event_loop.h"
#include "common/result.h"
#include "worker/supervise/execution_api.h"

namespace zkexec {

class ApiClient : public ExecutionApi {
 public:
  struct Options {
    std::string url;          // of the Execution API
    std::string api_version;  // of the task process, which reads the answers
    std::string user_agent;
    Duration timeout{5000};  // until an answer begins, and for each part of it
    // A longer body counts as no answer. It could not be told to a task anyway.
    std::size_t body_bytes_max = 256u << 20;
    // Who may sign the server, as Airflow's client decides
    // (python/zk_executor/worker/api_trust.py). Each file is empty or there; only the system's may
    // go, and then counts for nobody.
    std::string ca_file;
    std::string server_certificate_file;
    std::string public_ca_file;
    std::string system_ca_file;
    std::string system_ca_folder;
    std::string certificate_file;  // ours, for servers that ask; empty: none
    std::string key_file;
    // An HTTP proxy, http://host:port, as Airflow's client would choose it; empty: none.
    std::string proxy_url;
    std::string proxy_user;  // empty: it asks for no credentials
    std::string proxy_password;

    // From the zygote's handshake. Errors: kInvalid: a field is not what it should be.
    static Result<Options> Make(const nlohmann::json& handshake);
  };

  // Errors: kInvalid: a URL that is none, or a certificate that can't be read.
  static Result<std::unique_ptr<ApiClient>> Open(const Options& options, EventLoop& loop);
  ~ApiClient() override;

  void Send(ApiRequest request, const std::string& token, Callback done) override;

 private:
  struct Impl;
  explicit ApiClient(std::shared_ptr<Impl> impl);
  const std::shared_ptr<Impl> impl_;
};

}  // namespace zkexec
