/* floor: an NBD server without storage, the floor under all that have one. One thread, one poll
 * loop, the disk is a flat piece of memory; each turn is one recv(), a memcpy() for each request,
 * one send(). What a server loses against it is what its storage and its safety cost.
 *
 * With a file the disk is that, and each request a pread() or pwrite(): what one thread can do with
 * the kernel's page cache, without caring for anything else.
 *
 *   floor SOCKET SIZE_BYTES [FILE]
 *
 * Offers the default export only; knows READ, WRITE, FLUSH and DISC; no structured replies. */
#define _POSIX_C_SOURCE 200809L
#define _DEFAULT_SOURCE /* MAP_ANONYMOUS */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "wire.h"

/* A turn ends when its replies have come to half a megabyte: what is copied together and sent
 * together then still lies in the processor's cache. Requests left over are the next turn's. */
enum {
  CONNECTIONS_MAX = 64,
  PAYLOAD_MAX = 4 << 20,
  TURN_BYTES = 512 << 10,
  INPUT_SIZE = 2 * (REQUEST_HEADER_SIZE + PAYLOAD_MAX),
  OUTPUT_SIZE = TURN_BYTES + REPLY_HEADER_SIZE + PAYLOAD_MAX
};

enum phase { CLIENT_FLAGS, OPTIONS, TRANSMISSION, DEAD };

/* The bytes from start to end are still to be parsed, or to be sent. */
struct buffer {
  uint8_t *bytes;
  size_t start, end;
};

struct connection {
  enum phase phase;
  struct buffer input, output;
};

/* The disk is `file`, or if that is negative `disk`. */
static uint8_t *disk;
static int file = -1;
static uint64_t disk_size;

/* polled[0] is the listening socket; polled[i] belongs to connections[i]. */
static struct pollfd polled[CONNECTIONS_MAX + 1];
static struct connection connections[CONNECTIONS_MAX + 1];
static unsigned polled_count = 1;

static void send_output(struct connection *connection, struct pollfd *entry) {
  struct buffer *output = &connection->output;
  while (output->start < output->end) {
    const uint8_t *bytes = output->bytes + output->start;
    ssize_t count = send(entry->fd, bytes, output->end - output->start, MSG_NOSIGNAL);
    if (count < 0) {
      if (errno != EAGAIN) connection->phase = DEAD;
      break;
    }
    output->start += (size_t)count;
  }
  if (output->start == output->end) output->start = output->end = 0;
  entry->events = output->end > 0 ? POLLOUT : POLLIN;
}

static void reply_to_option(struct connection *connection, uint32_t option, uint32_t type,
                            const void *data, uint32_t size) {
  uint8_t *header = connection->output.bytes + connection->output.end;
  put64(header, NBD_OPTION_REPLY_MAGIC);
  put32(header + 8, option);
  put32(header + 12, type);
  put32(header + 16, size);
  memcpy(header + OPTION_REPLY_HEADER_SIZE, data, size);
  connection->output.end += OPTION_REPLY_HEADER_SIZE + size;
}

/* Each returns 0, or an NBD error. */
static uint32_t read_disk(uint8_t *to, uint64_t offset, size_t size) {
  if (file >= 0) return pread(file, to, size, (off_t)offset) == (ssize_t)size ? 0 : NBD_EIO;
  memcpy(to, disk + offset, size);
  return 0;
}

static uint32_t write_disk(const uint8_t *from, uint64_t offset, size_t size) {
  if (file >= 0) return pwrite(file, from, size, (off_t)offset) == (ssize_t)size ? 0 : NBD_EIO;
  memcpy(disk + offset, from, size);
  return 0;
}

/* Each take_ function returns 0 if what comes next is not all there, or has to wait. */
static int take_option(struct connection *connection) {
  struct buffer *input = &connection->input;
  const uint8_t *header = input->bytes + input->start;
  size_t available = input->end - input->start;
  if (available < OPTION_HEADER_SIZE) return 0;
  uint32_t option = get32(header + 8), size = get32(header + 12);
  if (size > PAYLOAD_MAX) {
    connection->phase = DEAD;
    return 0;
  }
  if (available < OPTION_HEADER_SIZE + size) return 0;
  input->start += OPTION_HEADER_SIZE + size;
  if (option == NBD_OPT_INFO || option == NBD_OPT_GO) {
    uint8_t info[INFO_EXPORT_SIZE];
    put16(info, NBD_INFO_EXPORT);
    put64(info + 2, disk_size);
    put16(info + 10, NBD_FLAG_HAS_FLAGS | NBD_FLAG_SEND_FLUSH | NBD_FLAG_CAN_MULTI_CONN);
    reply_to_option(connection, option, NBD_REP_INFO, info, sizeof info);
    reply_to_option(connection, option, NBD_REP_ACK, "", 0);
    if (option == NBD_OPT_GO) connection->phase = TRANSMISSION;
  } else {
    uint32_t type = option == NBD_OPT_ABORT ? NBD_REP_ACK : NBD_REP_ERR_UNSUP;
    reply_to_option(connection, option, type, "", 0);
  }
  return 1;
}

static int take_request(struct connection *connection) {
  struct buffer *input = &connection->input, *output = &connection->output;
  const uint8_t *header = input->bytes + input->start;
  size_t available = input->end - input->start;
  if (available < REQUEST_HEADER_SIZE) return 0;
  uint16_t command = get16(header + 6);
  uint64_t offset = get64(header + 16);
  uint32_t length = get32(header + 24);
  if (command == NBD_CMD_DISC || get32(header) != NBD_REQUEST_MAGIC || length > PAYLOAD_MAX) {
    connection->phase = DEAD;
    return 0;
  }
  size_t received = command == NBD_CMD_WRITE ? length : 0;
  if (available < REQUEST_HEADER_SIZE + received) return 0;
  int transfers = command == NBD_CMD_READ || command == NBD_CMD_WRITE;
  int is_valid = transfers ? offset <= disk_size && length <= disk_size - offset
                           : command == NBD_CMD_FLUSH;
  size_t sent = command == NBD_CMD_READ && is_valid ? length : 0;
  if (output->end >= TURN_BYTES) return 0;

  uint8_t *reply = output->bytes + output->end;
  uint32_t error = is_valid ? 0 : NBD_EINVAL;
  if (sent > 0) error = read_disk(reply + REPLY_HEADER_SIZE, offset, sent);
  if (received > 0 && is_valid) error = write_disk(header + REQUEST_HEADER_SIZE, offset, received);
  if (error != 0) sent = 0;
  put32(reply, NBD_SIMPLE_REPLY_MAGIC);
  put32(reply + 4, error);
  memcpy(reply + 8, header + 8, 8);
  output->end += REPLY_HEADER_SIZE + sent;
  input->start += REQUEST_HEADER_SIZE + received;
  return 1;
}

static int take_client_flags(struct connection *connection) {
  if (connection->input.end - connection->input.start < 4) return 0;
  connection->input.start += 4;
  connection->phase = OPTIONS;
  return 1;
}

static int take_next(struct connection *connection) {
  switch (connection->phase) {
    case CLIENT_FLAGS: return take_client_flags(connection);
    case OPTIONS: return take_option(connection);
    case TRANSMISSION: return take_request(connection);
    default: return 0;
  }
}

static void receive_input(struct connection *connection, struct pollfd *entry) {
  struct buffer *input = &connection->input;
  if (input->start == input->end || INPUT_SIZE - input->end < INPUT_SIZE / 2) {
    memmove(input->bytes, input->bytes + input->start, input->end - input->start);
    input->end -= input->start;
    input->start = 0;
  }
  ssize_t count = recv(entry->fd, input->bytes + input->end, INPUT_SIZE - input->end, 0);
  if (count == 0 || (count < 0 && errno != EAGAIN)) connection->phase = DEAD;
  if (count > 0) input->end += (size_t)count;
}

static void accept_client(void) {
  int socket = accept(polled[0].fd, NULL, NULL);
  if (socket < 0) return;
  if (polled_count > CONNECTIONS_MAX || fcntl(socket, F_SETFL, O_NONBLOCK) != 0) {
    close(socket);
    return;
  }
  struct connection *connection = &connections[polled_count];
  struct pollfd *entry = &polled[polled_count++];
  *entry = (struct pollfd){.fd = socket, .events = POLLIN};
  connection->phase = CLIENT_FLAGS;
  connection->input = (struct buffer){.bytes = allocate(INPUT_SIZE)};
  connection->output = (struct buffer){.bytes = allocate(OUTPUT_SIZE), .end = GREETING_SIZE};
  put64(connection->output.bytes, NBD_MAGIC);
  put64(connection->output.bytes + 8, NBD_OPTION_MAGIC);
  put16(connection->output.bytes + 16, NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES);
  send_output(connection, entry);
}

static void serve_client(struct connection *connection, struct pollfd *entry) {
  if (connection->output.end == 0) receive_input(connection, entry);
  else send_output(connection, entry);
  while (connection->phase != DEAD && connection->output.end == 0) {
    while (take_next(connection)) continue;
    if (connection->output.end == 0) break;
    send_output(connection, entry);
  }
}

/* The last connection takes the place of the one that ended. */
static void remove_client(unsigned index) {
  close(polled[index].fd);
  free(connections[index].input.bytes);
  free(connections[index].output.bytes);
  polled_count--;
  polled[index] = polled[polled_count];
  connections[index] = connections[polled_count];
}

static int listen_at(const char *path) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  if (strlen(path) >= sizeof address.sun_path) fail("%s: too long for a unix socket", path);
  strcpy(address.sun_path, path);
  int listening = socket(AF_UNIX, SOCK_STREAM, 0);
  if (bind(listening, (struct sockaddr *)&address, sizeof address) != 0 ||
      listen(listening, CONNECTIONS_MAX) != 0) {
    fail("%s: %s", path, strerror(errno));
  }
  return listening;
}

/* The file has to be of the disk's size already. */
static void open_disk(const char *path) {
  if (path != NULL) {
    file = open(path, O_RDWR);
    if (file < 0) fail("%s: %s", path, strerror(errno));
    return;
  }
  disk = mmap(NULL, disk_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (disk == MAP_FAILED) fail("no memory for a disk of %llu bytes", (unsigned long long)disk_size);
}

int main(int argc, char **argv) {
  if (argc != 3 && argc != 4) fail("usage: floor SOCKET SIZE_BYTES [FILE]");
  disk_size = strtoull(argv[2], NULL, 10);
  open_disk(argc == 4 ? argv[3] : NULL);
  polled[0] = (struct pollfd){.fd = listen_at(argv[1]), .events = POLLIN};
  for (;;) {
    if (poll(polled, polled_count, -1) < 0 && errno != EINTR) fail("poll: %s", strerror(errno));
    for (unsigned i = polled_count - 1; i >= 1; i--) { /* backwards: removing moves the last */
      if (polled[i].revents == 0) continue;
      serve_client(&connections[i], &polled[i]);
      if (connections[i].phase == DEAD) remove_client(i);
    }
    if (polled[0].revents & POLLIN) accept_client();
  }
}
