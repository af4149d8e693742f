// SPDX-License-Identifier: Apache-2.0
// What no client of ours sends: each gets its answer, or a closed connection, and the next client
// is served as if nothing had been.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/unit/worker/http/http_server_fixture.h"

namespace zkexec {
namespace {

constexpr char kHost[] = "Host: x\r\n";

class HttpNonsenseTest : public HttpServerFixture {
 protected:
  // The one answer to these bytes, after which the server hangs up although it wasn't asked to.
  RawAnswer Last(const std::string& bytes) const {
    const RawAnswer answer(Exchange(bytes));
    EXPECT_EQ(answer.Header("Connection"), "close") << answer.all;
    EXPECT_EQ(answer.Header("Content-Length"), std::to_string(answer.body.size())) << answer.all;
    ExpectHealthy();
    return answer;
  }
};

// The first of these ended cpprest's listener, and the worker with it.
TEST_F(HttpNonsenseTest, RefusesChunkedBodiesWhateverTheirChunksSay) {
  for (const char* chunk : {"-2", "-1", "ffffffffffffffffffff", "7fffffffffffffff", "zz", "", "0",
                            "5;x=\"", "0x10", "1\n"}) {
    for (const char* method : {"POST", "PUT", "GET", "HEAD"}) {
      const auto answer =
          RawAnswer(Exchange(std::string(method) + " /metrics HTTP/1.1\r\n" + kHost +
                             "Transfer-Encoding: chunked\r\n\r\n" + chunk + "\r\nhello\r\n"));
      const bool known = std::string(method) == "GET" || std::string(method) == "HEAD";
      EXPECT_EQ(answer.status, known ? 413 : 405) << method << " " << chunk << ": " << answer.all;
      EXPECT_EQ(answer.Header("Connection"), "close") << chunk;
      ExpectHealthy();
    }
  }
}

TEST_F(HttpNonsenseTest, RefusesBodiesWithLength) {
  const std::string post = std::string("POST /metrics HTTP/1.1\r\n") + kHost;
  const auto answer = Last(post + "Content-Length: 5\r\n\r\nhello");
  EXPECT_EQ(answer.status, 405);
  EXPECT_EQ(answer.Header("Allow"), "GET, HEAD");
  EXPECT_EQ(Last(post + "Content-Length: 9000000\r\n\r\n").status, 413);
  const std::string get = std::string("GET /metrics HTTP/1.1\r\n") + kHost;
  EXPECT_EQ(Last(get + "Content-Length: 5\r\n\r\nhello").status, 413);
  EXPECT_EQ(Last(get + "Content-Length: 1000000000\r\n\r\n").status, 413);
  EXPECT_EQ(Last(get + "Content-Length: 18446744073709551615\r\n\r\n").status, 413);
  EXPECT_EQ(Last(get + "Transfer-Encoding: gzip, chunked\r\n\r\n").status, 413);
  EXPECT_EQ(Last(get + "Transfer-Encoding: identity\r\n\r\n").status, 413);
}

// A client that is still writing its body finds the answer, not a broken connection.
TEST_F(HttpNonsenseTest, LetsClientWriteOnAfterAnswer) {
  const RawClient client(server_->port());
  client.Write(std::string("POST / HTTP/1.1\r\n") + kHost + "Content-Length: 100000\r\n\r\n" +
               std::string(50'000, 'x'));
  EXPECT_EQ(RawAnswer(client.Read("only GET and HEAD\n")).status, 405);
  EXPECT_TRUE(client.Write(std::string(25'000, 'x')));
  EXPECT_TRUE(client.Write(std::string(25'000, 'x')));
  client.EndOfRequests();
  EXPECT_EQ(client.Read(), "");
}

// What follows a body that nobody reads could be anything: it must not be taken for a request.
TEST_F(HttpNonsenseTest, TakesNothingAfterBodyForRequest) {
  const auto all =
      Exchange(std::string("GET /metrics HTTP/1.1\r\n") + kHost +
               "Content-Length: 35\r\n\r\nGET /health/live HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_EQ(RawAnswer(all).status, 413);
  EXPECT_EQ(all.find("HTTP/1.1", 1), std::string::npos) << all;
}

TEST_F(HttpNonsenseTest, RefusesLengthsThatAreNone) {
  const std::string get = std::string("GET /metrics HTTP/1.1\r\n") + kHost;
  for (const char* headers :
       {"Content-Length: -1\r\n", "Content-Length: 18446744073709551616\r\n",
        "Content-Length: 1e3\r\n", "Content-Length: 0x5\r\n", "Content-Length: \r\n",
        "Content-Length: 0\r\nContent-Length: 5\r\n", "Content-Length: 0, 5\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"}) {
    EXPECT_EQ(Last(get + headers + "\r\n").status, 400) << headers;
  }
  EXPECT_EQ(Last(get + "Content-Length: 0\r\nContent-Length: 0\r\n\r\n").status / 100, 4);
  EXPECT_EQ(Request("GET", "/metrics").status, 200);
  EXPECT_EQ(RawAnswer(Raw("GET /metrics HTTP/1.1", "Content-Length: 0\r\n")).status, 200);
}

TEST_F(HttpNonsenseTest, RefusesHeadsThatAreTooLarge) {
  const std::string get = std::string("GET /metrics HTTP/1.1\r\n") + kHost;
  EXPECT_EQ(Last(get + "A: " + std::string(20'000, 'a') + "\r\n\r\n").status, 431);
  EXPECT_EQ(Last("GET /" + std::string(20'000, 'a') + " HTTP/1.1\r\n\r\n").status, 431);
  EXPECT_EQ(Last(std::string(20'000, 'a')).status, 431);
  std::string many = get;
  while (many.size() < 20'000) many += "a:b\r\n";
  EXPECT_EQ(Last(many + "\r\n").status, 431);
  EXPECT_EQ(
      RawAnswer(Raw("GET /metrics HTTP/1.1", "A: " + std::string(15'000, 'a') + "\r\n")).status,
      200);
}

// Without an end: the server must stop reading by itself.
TEST_F(HttpNonsenseTest, EndsHeadThatNeverEnds) {
  const RawClient client(server_->port());
  client.Write(std::string("GET /metrics HTTP/1.1\r\n") + kHost);
  while (client.Write("X-Header: " + std::string(1000, 'x') + "\r\n")) {
  }
  ExpectHealthy();
}

TEST_F(HttpNonsenseTest, RefusesWhatIsNoHttp) {
  using std::string_literals::operator""s;
  const std::string tls_hello =
      "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x0d\x0a\x0d\x0a\x00\x00"s;
  for (const std::string& bytes :
       {tls_hello, "\r\n\r\n"s, "\n\n\r\n\r\n"s, "\0\0\0\0\r\n\r\n"s, "GET\r\n\r\n"s,
        "GET /metrics\r\n\r\n"s, " GET /metrics HTTP/1.1\r\n\r\n"s,
        "GET  /metrics HTTP/1.1\r\n\r\n"s, "GET /metrics HTTP/1.1 \r\n\r\n"s,
        "GET /metrics http/1.1\r\n\r\n"s, "GET /met\0rics HTTP/1.1\r\n\r\n"s,
        "GET /metrics HTTP/1.1\nHost: x\n\r\n\r\n"s,
        "GET /metrics HTTP/1.1\r\nHost: x\nA: b\r\n\r\n"s,
        "GET /metrics HTTP/1.1\r\nA: b\0c\r\n\r\n"s, "GET /metrics HTTP/1.1\r\nA b\r\n\r\n"s,
        "GET /metrics HTTP/1.1\r\n: b\r\n\r\n"s, "GET /metrics HTTP/1.1\r\nA : b\r\n\r\n"s,
        "GET /metrics HTTP/1.1\r\nA: b\rc\r\n\r\n"s, "G\xc3\x84T /metrics HTTP/1.1\r\n\r\n"s}) {
    EXPECT_EQ(Last(bytes).status, 400) << bytes;
  }
}

TEST_F(HttpNonsenseTest, RefusesOtherVersions) {
  // With prior knowledge, as HTTP/2 clients begin without TLS.
  EXPECT_EQ(Last("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").status, 400);
  EXPECT_EQ(Last("GET /metrics HTTP/0.9\r\n\r\n").status, 400);
  EXPECT_EQ(Last("GET /metrics HTTP/1.2\r\n\r\n").status, 400);
  EXPECT_EQ(Last("GET /metrics HTTP/1.0\r\n\r\n").status, 200);
}

// Half a request, and the end of it: there is nobody to answer.
TEST_F(HttpNonsenseTest, ClosesWhenClientEndsInTheMiddle) {
  for (const char* bytes : {"", "G", "GET /metrics HTTP/1.1\r\nHost: x\r\n"}) {
    const RawClient client(server_->port());
    client.Write(bytes);
    client.EndOfRequests();
    EXPECT_EQ(client.Read(), "") << bytes;
  }
  ExpectHealthy();
}

TEST_F(HttpNonsenseTest, KnowsNoOtherMethod) {
  for (const char* method :
       {"POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PATCH", "get", "GETS", "X"}) {
    const auto answer = Request(method, "/metrics");
    EXPECT_EQ(answer.status, 405) << method;
    EXPECT_EQ(answer.Header("Allow"), "GET, HEAD") << method;
  }
}

TEST_F(HttpNonsenseTest, CountsWhatItAnswers) {
  Last("GET\r\n\r\n");
  Request("GET", "/nothing");
  const std::lock_guard lock(mutex_);
  EXPECT_EQ(answered_, (std::vector<int>{400, 200, 404}));
}

}  // namespace
}  // namespace zkexec
