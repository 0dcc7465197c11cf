/* The client's side of the fixed newstyle handshake over a unix socket, as far as a load generator
 * needs it: GO for one export, no structured replies, no TLS. The socket still blocks here. */
#ifndef HANDSHAKE_H
#define HANDSHAKE_H

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include "wire.h"

enum { OPTION_DATA_MAX = 4096 };

struct export {
  uint64_t size;
  uint16_t flags;
};

static int connect_unix(const char *path) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  if (strlen(path) >= sizeof address.sun_path) fail("%s: too long for a unix socket", path);
  strcpy(address.sun_path, path);
  int connected = socket(AF_UNIX, SOCK_STREAM, 0);
  if (connect(connected, (struct sockaddr *)&address, sizeof address) != 0) {
    fail("%s: %s", path, strerror(errno));
  }
  return connected;
}

static void send_fully(int socket, const void *bytes, size_t size) {
  if (send(socket, bytes, size, MSG_NOSIGNAL) != (ssize_t)size) {
    fail("sending %zu bytes: %s", size, strerror(errno));
  }
}

static void receive_fully(int socket, void *bytes, size_t size) {
  if (recv(socket, bytes, size, MSG_WAITALL) != (ssize_t)size) fail("the handshake broke off");
}

static void send_go(int socket, const char *name) {
  uint8_t option[OPTION_HEADER_SIZE + OPTION_DATA_MAX];
  size_t name_size = strlen(name);
  if (name_size > OPTION_DATA_MAX - 6) fail("the export's name is too long");
  put64(option, NBD_OPTION_MAGIC);
  put32(option + 8, NBD_OPT_GO);
  put32(option + 12, (uint32_t)(4 + name_size + 2));
  put32(option + 16, (uint32_t)name_size);
  memcpy(option + 20, name, name_size);
  put16(option + 20 + name_size, 0); /* no information requests */
  send_fully(socket, option, OPTION_HEADER_SIZE + 4 + name_size + 2);
}

static struct export shake_hands(int socket, const char *name) {
  uint8_t header[OPTION_REPLY_HEADER_SIZE], data[OPTION_DATA_MAX];
  struct export export = {0};
  receive_fully(socket, header, GREETING_SIZE);
  if (get64(header) != NBD_MAGIC || get64(header + 8) != NBD_OPTION_MAGIC) {
    fail("this is no newstyle NBD server");
  }
  put32(data, NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES);
  send_fully(socket, data, 4);
  send_go(socket, name);
  for (;;) {
    receive_fully(socket, header, OPTION_REPLY_HEADER_SIZE);
    uint32_t type = get32(header + 12), size = get32(header + 16);
    if (size > sizeof data) fail("an option reply of %u bytes", size);
    if (size > 0) receive_fully(socket, data, size);
    if (type == NBD_REP_ACK) return export;
    if (type & NBD_REP_FLAG_ERROR) fail("export refused: %.*s", (int)size, (char *)data);
    if (type == NBD_REP_INFO && size == INFO_EXPORT_SIZE && get16(data) == NBD_INFO_EXPORT) {
      export.size = get64(data + 2);
      export.flags = get16(data + 10);
    }
  }
}

#endif
