// SPDX-License-Identifier: Apache-2.0
#include "worker/supervise/api_client.h"

// Without this cpprest defines a macro U, which other headers use as a name.
#define _TURN_OFF_PLATFORM_STRING
#include <cpprest/http_client.h>
#include <cpprest/producerconsumerstream.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <boost/asio/ssl.hpp>
#include <filesystem>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "common/ids.h"
#include "common/log.h"
#include "worker/json_fields.h"
#include "worker/web_threads.h"

namespace zkexec {
namespace {

namespace http = web::http;

// Throws what boost throws for a file that can't be read.
void Trust(const ApiClient::Options& options, boost::asio::ssl::context& context) {
  // cpprest has loaded the system's authorities into the context, whatever we want. Once it has a
  // store of its own, only those count that Airflow's client trusts.
  SSL_CTX_set_cert_store(context.native_handle(), X509_STORE_new());
  // As Python's ssl.create_default_context(). The name is checked by OpenSSL too, because boost
  // takes the common name of a certificate that has other names, and a wildcard for a part of a
  // name.
  SSL_CTX_set_min_proto_version(context.native_handle(), TLS1_2_VERSION);
  auto* const verified = SSL_CTX_get0_param(context.native_handle());
  X509_VERIFY_PARAM_set_hostflags(verified, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
  auto host = web::uri(options.url).host();
  if (host.starts_with('[')) host = host.substr(1, host.size() - 2);
  if (X509_VERIFY_PARAM_set1_ip_asc(verified, host.c_str()) != 1)
    X509_VERIFY_PARAM_set1_host(verified, host.c_str(), host.size());
  // The system's may go and come again while it is brought up to date.
  boost::system::error_code ignored;
  if (!options.system_ca_file.empty()) context.load_verify_file(options.system_ca_file, ignored);
  if (!options.system_ca_folder.empty()) context.add_verify_path(options.system_ca_folder, ignored);
  for (const auto& file :
       {options.ca_file, options.server_certificate_file, options.public_ca_file})
    if (!file.empty()) context.load_verify_file(file);
  if (!options.certificate_file.empty()) {
    context.use_certificate_chain_file(options.certificate_file);
    context.use_private_key_file(options.key_file, boost::asio::ssl::context::pem);
  }
}

// For a connection, which reads the files anew: they may have been renewed. Where they can't be
// read, nobody is trusted, and the handshake fails.
void TrustOrNobody(const ApiClient::Options& options, boost::asio::ssl::context& context) {
  try {
    Trust(options, context);
  } catch (const std::exception& error) {
    SSL_CTX_set_cert_store(context.native_handle(), X509_STORE_new());
    spdlog::error("cannot read the files that [api] names for TLS error=\"{}\"", error.what());
  }
}

// The body of an answer. cpprest hands it what arrives, with a count that it has from the server:
// a chunk of the size -2 comes as nearly 2^64 bytes.
class BodyBuffer : public concurrency::streams::details::basic_producer_consumer_buffer<uint8_t> {
 public:
  explicit BodyBuffer(std::size_t bytes_max)
      : basic_producer_consumer_buffer(1), bytes_max_(bytes_max) {}
  // Once the answer is complete.
  std::string Take() { return std::move(body_); }

 private:
  pplx::task<std::size_t> _putn(const uint8_t* bytes, std::size_t count) override {
    if (count > bytes_max_ - body_.size()) {
      return pplx::task_from_exception<std::size_t>(
          std::runtime_error("the answer's body is too long, or has a chunk of no possible size"));
    }
    body_.append(reinterpret_cast<const char*>(bytes), count);
    return pplx::task_from_result(count);
  }

  const std::size_t bytes_max_;
  std::string body_;
};

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

Result<ApiClient::Options> ApiClient::Options::Make(const nlohmann::json& handshake) {
  Options options;
  JsonFields all(handshake, "the zygote's handshake");
  options.url = all.Text("execution_api_server_url");
  const auto* found = all.Object("supervise");
  if (!all.status()) return all.status().error();
  if (found == nullptr) return options;
  JsonFields told(*found, "\"supervise\" of the zygote's handshake");
  options.api_version = told.Text("api_version");
  options.user_agent = told.Text("user_agent");
  options.timeout = told.Seconds("api_timeout_s", options.timeout);
  options.ca_file = told.Text("ca_file");
  options.server_certificate_file = told.Text("server_certificate_file");
  options.public_ca_file = told.Text("public_ca_file");
  options.system_ca_file = told.Text("system_ca_file");
  options.system_ca_folder = told.Text("system_ca_folder");
  options.certificate_file = told.Text("certificate_file");
  options.key_file = told.Text("key_file");
  options.proxy_url = told.Text("proxy_url");
  options.proxy_user = told.Text("proxy_user");
  options.proxy_password = told.Text("proxy_password");
  if (!told.status()) return told.status().error();
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
  if (options.certificate_file.empty() != options.key_file.empty()) {
    return Error{ErrorCode::kInvalid,
                 "[api] client_ssl_cert and client_ssl_key must both be set, or none"};
  }
  try {
    http::client::http_client_config config;
    config.set_timeout(options.timeout);
    config.set_max_redirects(0);
    if (!options.proxy_url.empty()) {
      web::web_proxy proxy{web::uri(options.proxy_url)};
      if (!options.proxy_user.empty() || !options.proxy_password.empty())
        proxy.set_credentials({options.proxy_user, options.proxy_password});
      config.set_proxy(std::move(proxy));
    }
    if (options.url.starts_with("https")) {
      boost::asio::ssl::context tried(boost::asio::ssl::context::tls_client);
      Trust(options, tried);
      config.set_ssl_context_callback(
          [options](boost::asio::ssl::context& context) { TrustOrNobody(options, context); });
    }
    auto impl = std::make_shared<Impl>(options, loop, config);
    impl->self = impl;
    return std::unique_ptr<ApiClient>(new ApiClient(std::move(impl)));
  } catch (const std::exception& error) {
    return Error{ErrorCode::kInvalid,
                 "cannot talk to the Execution API at '" + options.url + "': " + error.what()};
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
    const auto body = std::make_shared<BodyBuffer>(impl_->options.body_bytes_max);
    out.set_response_stream(concurrency::streams::streambuf<uint8_t>(body).create_ostream());
    // The client is kept alive by what it still has to do.
    impl_->client.request(out)
        .then([](const http::http_response& response) { return response.content_ready(); })
        .then([impl = impl_, number, body](const pplx::task<http::http_response>& task) {
          ApiAnswer answer;
          try {
            const auto response = task.get();
            answer.content_type = Header(response, "Content-Type");
            answer.content_range = Header(response, "Content-Range");
            answer.refreshed_token = Header(response, "Refreshed-API-Token");
            answer.body = body->Take();
            answer.status = response.status_code();
          } catch (const std::exception& error) {
            answer = {};
            answer.failure = Explained(error);
          }
          impl->Deliver(number, std::move(answer));
        });
    return;
  } catch (const std::exception& error) {
    failed.failure = error.what();
  }
  impl_->Deliver(number, std::move(failed));
}

}  // namespace zkexec
