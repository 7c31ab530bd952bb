/* What the floors share: a socket that is connected to $AWS_LAMBDA_RUNTIME_API, which has to be an
 * IPv4 address and a port, as on Lambda. Nothing is checked that a run cannot get wrong. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

static int connected(void) {
  const char *api = getenv("AWS_LAMBDA_RUNTIME_API");
  const char *colon = api ? strchr(api, ':') : 0;
  char host[16] = "";
  struct sockaddr_in address = {.sin_family = AF_INET};
  int one = 1, fd;
  if (!colon || colon - api >= (long)sizeof host) _exit(2);
  memcpy(host, api, colon - api);
  inet_pton(AF_INET, host, &address.sin_addr);
  address.sin_port = htons(atoi(colon + 1));
  fd = socket(AF_INET, SOCK_STREAM, 0);
  if (connect(fd, (struct sockaddr *)&address, sizeof address)) _exit(3);
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  return fd;
}
