/* The floor of an invocation: the calls that the protocol needs, and as little as can be between
 * them. The event is sent back from where it was received. It takes a body with a length or in
 * one chunk, which is how the platform sends it, and checks nothing. */
#include "common.h"

static char buffer[8 << 20];

/* What a head says. The framing is in one of the last two; the other is 0. */
static struct {
  size_t length, body;
  const char *id;
  size_t id_length;
  int chunked;
} message;

/* Reads until the buffer holds `wanted` bytes. */
static size_t fill(int fd, size_t filled, size_t wanted) {
  while (filled < wanted) {
    ssize_t count = read(fd, buffer + filled, sizeof buffer - filled);
    if (count <= 0) _exit(0);
    filled += count;
  }
  return filled;
}

/* Reads and looks at a head, once over its bytes; returns how much is in the buffer. */
static size_t head(int fd) {
  size_t filled = 0, line = 0, at = 0;
  message.chunked = message.length = 0;
  for (;;) {
    while (at == filled || buffer[at] != '\n')
      if (at == filled) filled = fill(fd, filled, filled + 1);
      else at++;
    if (at - line < 2) break;
    if (at - line == 68 && buffer[line + 19] == 'q') { /* Lambda-Runtime-Aws-Request-Id: */
      message.id = buffer + line + 31;
      message.id_length = 36;
    } else if (buffer[line] == 'C' && buffer[line + 8] == 'L') { /* Content-Length: */
      for (char *digit = buffer + line + 16; *digit != '\r'; digit++)
        message.length = message.length * 10 + (*digit - '0');
    } else if (buffer[line] == 'T') { /* Transfer-Encoding: */
      message.chunked = 1;
    }
    line = ++at;
  }
  message.body = at + 1;
  return filled;
}

static char *put(char *to, const char *text, size_t length) {
  memcpy(to, text, length);
  return to + length;
}
#define PUT(to, text) put(to, text, sizeof text - 1)

int main(void) {
  static const char next[] = "GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\n"
                             "Host: 127.0.0.1:9001\r\n\r\n";
  char post[512];
  int fd = connected();
  for (;;) {
    write(fd, next, sizeof next - 1);
    size_t filled = head(fd);
    if (buffer[9] != '2') return 0;
    if (message.chunked) {
      size_t at = message.body;
      for (;; at++) {
        if (at == filled) filled = fill(fd, filled, filled + 1);
        char c = buffer[at];
        if (c == '\n') break;
        if (c != '\r') message.length = message.length * 16 + (c <= '9' ? c - '0' : c - 'a' + 10);
      }
      message.body = at + 1;
      fill(fd, filled, message.body + message.length + 7); /* CR LF 0 CR LF CR LF */
    } else {
      fill(fd, filled, message.body + message.length);
    }
    char *end = PUT(post, "POST /2018-06-01/runtime/invocation/");
    end = put(end, message.id, message.id_length);
    end = PUT(end, "/response HTTP/1.1\r\nHost: 127.0.0.1:9001\r\nContent-Length: ");
    char digits[20], *digit = digits + sizeof digits;
    for (size_t rest = message.length; digit == digits + sizeof digits || rest; rest /= 10)
      *--digit = '0' + rest % 10;
    end = put(end, digit, digits + sizeof digits - digit);
    end = PUT(end, "\r\n\r\n");
    struct iovec parts[2] = {{post, end - post}, {buffer + message.body, message.length}};
    for (int part = 0; part < 2;) {
      ssize_t count = writev(fd, parts + part, 2 - part);
      if (count < 0) return 1;
      for (; part < 2 && (size_t)count >= parts[part].iov_len; part++)
        count -= parts[part].iov_len;
      if (part < 2) {
        parts[part].iov_base = (char *)parts[part].iov_base + count;
        parts[part].iov_len -= count;
      }
    }
    filled = head(fd);
    fill(fd, filled, message.body + message.length);
  }
}
