// SPDX-License-Identifier: Apache-2.0
#include "worker/supervise/api_client.h"

#include <cpprest/http_client.h>

#include <boost/asio/ssl.hpp>
#include <filesystem>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "common/ids.h"
#include "worker/web_threads.h"

namespace zkexec {
namespace {

namespace http = web::http;

void Trust(const ApiClient::Options& options, boost::asio::ssl::context& context) {
  if (options.ca_file.empty()) context.set_default_verify_paths();
  for (const auto& file :
       {options.ca_file, options.server_certificate_file, options.public_ca_file})
    if (!file.empty()) context.load_verify_file(file);
  if (!options.certificate_file.empty()) {
    context.use_certificate_chain_file(options.certificate_file);
    context.use_private_key_file(options.key_file, boost::asio::ssl::context::pem);
  }
}

std::string Header(const http::http_response& response, const char* name) {
  const auto found = response.headers().find(name);
  return found == response.headers().end() ? "" : found->second;
}

// What the library says, and what to do where it says too little.
std::string Explained(const std::exception& error) {
  std::string what = error.what();
  if (what.find("SSL handshake") != std::string::npos) {
    what +=
        ": the server's certificate must be signed by [api] ssl_ca_file or ssl_cert and be of the "
        "name in [core] execution_api_server_url";
  }
  return what;
}

// A name of 128 random bits in the form that Airflow's server writes to its log.
std::string CorrelationId() {
  const auto hex = RandomHex();
  return hex.substr(0, 8) + "-" + hex.substr(8, 4) + "-" + hex.substr(12, 4) + "-" +
         hex.substr(16, 4) + "-" + hex.substr(20, 12);
}

}  // namespace

struct ApiClient::Impl {
  Impl(const Options& the_options, EventLoop& the_loop,
       const http::client::http_client_config& config)
      : options(the_options), loop(&the_loop), client(web::uri(the_options.url), config) {}

  // On one of cpprest's threads, or from Send().
  void Deliver(std::uint64_t number, ApiAnswer answer) {
    const std::lock_guard lock(mutex);
    if (loop == nullptr) return;
    loop->Post([weak = self, number, answer = std::move(answer)]() mutable {
      const auto impl = weak.lock();
      if (impl == nullptr) return;
      const auto waiting = impl->callbacks.extract(number);
      if (!waiting.empty()) waiting.mapped()(std::move(answer));
    });
  }

  const Options options;
  std::weak_ptr<Impl> self;
  std::mutex mutex;  // guards loop
  EventLoop* loop;
  http::client::http_client client;
  // Of the loop's thread: what the callbacks hold must not die on another.
  std::map<std::uint64_t, Callback> callbacks;
  std::uint64_t next = 0;
};

ApiClient::Options ApiClient::Options::Make(const nlohmann::json& handshake) {
  Options options;
  options.url = handshake.value("execution_api_server_url", "");
  const auto found = handshake.find("supervise");
  if (found == handshake.end() || !found->is_object()) return options;
  options.api_version = found->value("api_version", "");
  options.user_agent = found->value("user_agent", "");
  options.timeout = Duration{static_cast<Duration::rep>(found->value("api_timeout_s", 5.0) * 1000)};
  options.ca_file = found->value("ca_file", "");
  options.server_certificate_file = found->value("server_certificate_file", "");
  options.public_ca_file = found->value("public_ca_file", "");
  options.certificate_file = found->value("certificate_file", "");
  options.key_file = found->value("key_file", "");
  return options;
}

Result<std::unique_ptr<ApiClient>> ApiClient::Open(const Options& options, EventLoop& loop) {
  StartWebThreadsOnce();
  const auto option = [](const std::string& file) {
    return Error{ErrorCode::kInvalid, "cannot read " + file + ", which [api] names for TLS"};
  };
  for (const auto& file : {options.ca_file, options.server_certificate_file, options.public_ca_file,
                           options.certificate_file, options.key_file}) {
    std::error_code error;
    if (!file.empty() && !std::filesystem::exists(file, error)) return option(file);
  }
  try {
    http::client::http_client_config config;
    config.set_timeout(options.timeout);
    if (options.url.starts_with("https")) {
      config.set_ssl_context_callback(
          [options](boost::asio::ssl::context& context) { Trust(options, context); });
    }
    auto impl = std::make_shared<Impl>(options, loop, config);
    impl->self = impl;
    return std::unique_ptr<ApiClient>(new ApiClient(std::move(impl)));
  } catch (const std::exception& error) {
    return Error{ErrorCode::kInvalid,
                 "the Execution API's URL '" + options.url + "' is none: " + error.what()};
  }
}

ApiClient::ApiClient(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}

ApiClient::~ApiClient() {
  const std::lock_guard lock(impl_->mutex);
  impl_->loop = nullptr;
}

void ApiClient::Send(ApiRequest request, const std::string& token, Callback done) {
  const auto number = ++impl_->next;
  impl_->callbacks[number] = std::move(done);
  ApiAnswer failed;
  try {
    http::http_request out(request.method);
    out.set_request_uri(web::uri(request.path));
    auto& headers = out.headers();
    headers.add("Authorization", "Bearer " + token);
    headers.add("airflow-api-version", impl_->options.api_version);
    headers.add("User-Agent", impl_->options.user_agent);
    headers.add("correlation-id", CorrelationId());
    headers.add("Accept", "*/*");
    for (const auto& [name, value] : request.headers) headers.add(name, value);
    if (!request.body.empty()) {
      const auto* bytes = reinterpret_cast<const unsigned char*>(request.body.data());
      out.set_body(std::vector<unsigned char>(bytes, bytes + request.body.size()));
      headers.set_content_type("application/json");
    }
    // The client is kept alive by what it still has to do.
    impl_->client.request(out).then(
        [impl = impl_, number](const pplx::task<http::http_response>& task) {
          ApiAnswer answer;
          try {
            auto response = task.get();
            answer.content_type = Header(response, "Content-Type");
            answer.content_range = Header(response, "Content-Range");
            answer.refreshed_token = Header(response, "Refreshed-API-Token");
            const auto status = response.status_code();
            return response.extract_vector().then(
                [impl, number, status, answer](const pplx::task<std::vector<unsigned char>>& body) {
                  auto complete = answer;
                  try {
                    const auto bytes = body.get();
                    complete.body.assign(bytes.begin(), bytes.end());
                    complete.status = status;
                  } catch (const std::exception& error) {
                    complete.failure = error.what();
                  }
                  impl->Deliver(number, std::move(complete));
                });
          } catch (const std::exception& error) {
            answer.failure = Explained(error);
          }
          impl->Deliver(number, std::move(answer));
          return pplx::task_from_result();
        });
    return;
  } catch (const std::exception& error) {
    failed.failure = error.what();
  }
  impl_->Deliver(number, std::move(failed));
}

}  // namespace zkexec
