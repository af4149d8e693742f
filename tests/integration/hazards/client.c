// SPDX-License-Identifier: Apache-2.0
// A client of servers.py: connects to a Unix socket, and asks with a number.

#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

// Returns the descriptor, -1 on error.
int hazards_connect(const char *path) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  strncpy(address.sun_path, path, sizeof(address.sun_path) - 1);
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return -1;
  if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0) return fd;
  close(fd);
  return -1;
}

// Sends a number; the answer is the same number, and that of the connection.
// Returns whether it was another one: then somebody else uses the connection.
int hazards_ask(int fd, long long token, long long *connection) {
  long long answer[2];
  if (write(fd, &token, sizeof(token)) != sizeof(token)) return 1;
  for (size_t have = 0; have < sizeof(answer);) {
    const ssize_t got = read(fd, (char *)answer + have, sizeof(answer) - have);
    if (got <= 0) return 1;
    have += (size_t)got;
  }
  *connection = answer[1];
  return answer[0] != token;
}
