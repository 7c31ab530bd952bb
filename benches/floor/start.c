/* The floor of a start: connect, send one request, wait. With -DREGISTER the request is that of an
 * extension; with -DREADY the two that follow it are sent as well. */
#include "common.h"

#define HOST "Host: 127.0.0.1:9001\r\n"
#define REGISTER_REQUEST                                                       \
  "POST /2020-01-01/extension/register HTTP/1.1\r\n" HOST                      \
  "Lambda-Extension-Name: floor\r\nContent-Length: 32\r\n\r\n"                 \
  "{\"events\":[\"INVOKE\",\"SHUTDOWN\"]}"
#define SUBSCRIBE_REQUEST                                                      \
  "PUT /2022-07-01/telemetry HTTP/1.1\r\n" HOST                                \
  "Lambda-Extension-Identifier: floor\r\nContent-Length: 2\r\n\r\n{}"
#define EVENT_REQUEST                                                          \
  "GET /2020-01-01/extension/event/next HTTP/1.1\r\n" HOST                     \
  "Lambda-Extension-Identifier: floor\r\n\r\n"
#define NEXT_REQUEST                                                           \
  "GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\n" HOST "\r\n"

#define SEND(fd, text) write(fd, text, sizeof text - 1)

int main(void) {
  char answer[4096];
  int fd = connected();
#if defined READY
  SEND(fd, REGISTER_REQUEST);
  read(fd, answer, sizeof answer);
  SEND(fd, SUBSCRIBE_REQUEST);
  read(fd, answer, sizeof answer);
  SEND(fd, EVENT_REQUEST);
#elif defined REGISTER
  SEND(fd, REGISTER_REQUEST);
#else
  SEND(fd, NEXT_REQUEST);
#endif
  return read(fd, answer, sizeof answer) < 0;
}
