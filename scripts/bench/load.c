/* load: a load generator for NBD servers, thin enough that the server is what a run measures.
 * In each turn a connection sends all requests that may be outstanding with one send(), and takes
 * all replies that have arrived with one recv(). No threads, no structured replies, unix sockets.
 *
 *   load -s SOCKET [-e EXPORT] [-r READ_PERCENT] [-q | -p] [-b BLOCK_BYTES] [-d DEPTH]
 *        [-c CONNECTIONS] [-t SECONDS | -n OPERATIONS] [-l SPAN_BYTES] [-x SEED] [-v] [-w]
 *
 * -q goes through the span in sequence, -p takes every block once before it begins again, but never
 * one beside the last (a permutation), else blocks are taken at random. -n ends after so many requests. Every page
 * of 4096 bytes that is written begins with a tag made of its offset; -v demands it of every page
 * that is read. -w prints "ready" once connected and starts at a line on stdin; it disconnects at
 * the end of stdin, so that whoever measures the server can look at it with its clients attached.
 * One line of JSON on stdout; exit status 1 if the server broke the protocol or gave wrong data. */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include "handshake.h"
#include "histogram.h"
#include "wire.h"

/* A prime, so that its multiples go through all blocks in an order that looks like none. */
static const uint64_t STRIDE = 2654435761u;

enum order { RANDOM, SEQUENCE, PERMUTATION };

/* A cookie holds the place of its request in 16 bits. */
enum { PAGE_SIZE = 4096, SILENCE_MS_MAX = 20000, DEPTH_MAX = 1 << 16 };

struct settings {
  const char *socket, *export;
  unsigned read_percent, depth, connections;
  uint32_t block_size;
  uint64_t span, operations;
  double seconds;
  enum order order;
  int verify, wait;
};

/* One of `depth` places in a connection's queue. */
struct request {
  uint64_t offset, sent_at;
  uint64_t cookie; /* 0: idle. Never used twice, so a late or doubled reply is noticed. */
  int is_read;
};

/* The bytes from start to end are still to be sent, or to be parsed. */
struct buffer {
  uint8_t *bytes;
  size_t start, end, size;
};

struct connection {
  int socket;
  struct request *requests;
  unsigned *idle, idle_count; /* a stack of indices into `requests` */
  struct buffer output, input;
};

static struct settings settings = {.export = "",
                                   .read_percent = 100,
                                   .depth = 1,
                                   .connections = 1,
                                   .block_size = PAGE_SIZE,
                                   .seconds = 1};
static struct histogram latencies;
static uint64_t started_count, finished_count, error_count, block_count;
static uint64_t random_state = 88172645463325252u;

static uint64_t next_random(void) { /* xorshift64 */
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  return random_state ^= random_state << 17;
}

static uint64_t nanoseconds(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

/* What the page at this offset begins with. The factor spreads it over all 64 bits. */
static uint64_t page_tag(uint64_t offset) {
  return (offset + 1) * 0x9e3779b97f4a7c15u;
}

static void parse_arguments(int argc, char **argv) {
  int option;
  while ((option = getopt(argc, argv, "s:e:r:qpb:d:c:t:n:l:x:vw")) != -1) {
    switch (option) {
      case 's': settings.socket = optarg; break;
      case 'e': settings.export = optarg; break;
      case 'r': settings.read_percent = (unsigned)atoi(optarg); break;
      case 'q': settings.order = SEQUENCE; break;
      case 'p': settings.order = PERMUTATION; break;
      case 'b': settings.block_size = (uint32_t)atoi(optarg); break;
      case 'd': settings.depth = (unsigned)atoi(optarg); break;
      case 'c': settings.connections = (unsigned)atoi(optarg); break;
      case 't': settings.seconds = atof(optarg); break;
      case 'n': settings.operations = strtoull(optarg, NULL, 10); break;
      case 'l': settings.span = strtoull(optarg, NULL, 10); break;
      case 'x': random_state ^= strtoull(optarg, NULL, 10) * 0x9e3779b97f4a7c15u; break;
      case 'v': settings.verify = 1; break;
      case 'w': settings.wait = 1; break;
      default: fail("usage: see the head of load.c");
    }
  }
  if (settings.socket == NULL) fail("-s SOCKET is missing");
  if (settings.depth == 0 || settings.depth > DEPTH_MAX) fail("-d goes from 1 to %d", DEPTH_MAX);
  if (settings.connections == 0) fail("-c starts at 1");
  if (settings.block_size == 0 || settings.block_size % PAGE_SIZE != 0) {
    fail("-b must be a multiple of %d", PAGE_SIZE);
  }
  if (random_state == 0) random_state = 1; /* xorshift would stay there */
}

static void make_buffer(struct buffer *buffer, size_t size) {
  *buffer = (struct buffer){.bytes = allocate(size), .size = size};
}

static void open_connection(struct connection *connection) {
  connection->socket = connect_unix(settings.socket);
  struct export export = shake_hands(connection->socket, settings.export);
  if (settings.read_percent < 100 && export.flags & NBD_FLAG_READ_ONLY) {
    fail("the export is read-only");
  }
  if (settings.span == 0 || settings.span > export.size) settings.span = export.size;
  block_count = settings.span / settings.block_size;
  if (block_count == 0) fail("the export is smaller than a block");
  if (fcntl(connection->socket, F_SETFL, O_NONBLOCK) != 0) fail("%s", strerror(errno));

  unsigned depth = settings.depth;
  connection->requests = allocate(depth * sizeof *connection->requests);
  connection->idle = allocate(depth * sizeof *connection->idle);
  while (connection->idle_count < depth) {
    connection->idle[connection->idle_count] = depth - 1 - connection->idle_count;
    connection->idle_count++;
  }
  make_buffer(&connection->output, depth * (REQUEST_HEADER_SIZE + (size_t)settings.block_size));
  /* Twice what can be outstanding: what is left of a recv() is seldom moved to the front. */
  make_buffer(&connection->input, 2 * depth * (REPLY_HEADER_SIZE + (size_t)settings.block_size));
  /* Payloads are whatever stands in the output buffer, tags apart. */
  for (size_t at = 0; at + 8 <= connection->output.size; at += 8) {
    put64(connection->output.bytes + at, next_random());
  }
}

static uint64_t next_block(void) {
  switch (settings.order) {
    case SEQUENCE: return started_count % block_count;
    case PERMUTATION: return started_count % block_count * STRIDE % block_count;
    default: return next_random() % block_count;
  }
}

static void append_request(struct connection *connection, uint64_t time) {
  unsigned index = connection->idle[--connection->idle_count];
  struct request *request = &connection->requests[index];
  request->offset = next_block() * settings.block_size;
  request->is_read = next_random() % 100 < settings.read_percent;
  request->sent_at = time;
  request->cookie = ++started_count * DEPTH_MAX + index;

  uint8_t *header = connection->output.bytes + connection->output.end;
  put32(header, NBD_REQUEST_MAGIC);
  put16(header + 4, 0);
  put16(header + 6, request->is_read ? NBD_CMD_READ : NBD_CMD_WRITE);
  put64(header + 8, request->cookie);
  put64(header + 16, request->offset);
  put32(header + 24, settings.block_size);
  connection->output.end += REQUEST_HEADER_SIZE;
  if (request->is_read) return;
  for (uint32_t at = 0; at < settings.block_size; at += PAGE_SIZE) {
    put64(header + REQUEST_HEADER_SIZE + at, page_tag(request->offset + at));
  }
  connection->output.end += settings.block_size;
}

static void send_output(struct connection *connection) {
  struct buffer *output = &connection->output;
  if (output->start == output->end) return;
  const uint8_t *bytes = output->bytes + output->start;
  ssize_t count = send(connection->socket, bytes, output->end - output->start, MSG_NOSIGNAL);
  if (count < 0 && errno != EAGAIN) fail("send: %s", strerror(errno));
  if (count > 0) output->start += (size_t)count;
}

static struct request *find_request(struct connection *connection, uint64_t cookie) {
  unsigned index = cookie % DEPTH_MAX;
  if (cookie == 0 || index >= settings.depth || connection->requests[index].cookie != cookie) {
    fail("a reply with cookie %llx, which is not waited for", (unsigned long long)cookie);
  }
  return &connection->requests[index];
}

static void check_tags(const uint8_t *payload, uint64_t offset) {
  for (uint32_t at = 0; at < settings.block_size; at += PAGE_SIZE) {
    if (get64(payload + at) != page_tag(offset + at)) {
      fail("wrong data at offset %llu", (unsigned long long)(offset + at));
    }
  }
}

/* Returns 0 if the next reply is not all there. */
static int take_reply(struct connection *connection, uint64_t time) {
  struct buffer *input = &connection->input;
  const uint8_t *header = input->bytes + input->start;
  size_t available = input->end - input->start;
  if (available < REPLY_HEADER_SIZE) return 0;
  if (get32(header) != NBD_SIMPLE_REPLY_MAGIC) fail("a reply without its magic");
  uint32_t error = get32(header + 4);
  struct request *request = find_request(connection, get64(header + 8));
  size_t payload_size = error == 0 && request->is_read ? settings.block_size : 0;
  if (available < REPLY_HEADER_SIZE + payload_size) return 0;

  if (payload_size > 0 && settings.verify) {
    check_tags(header + REPLY_HEADER_SIZE, request->offset);
  }
  if (error != 0 && error_count++ == 0) fprintf(stderr, "NBD error %u\n", error);
  record(&latencies, time - request->sent_at);
  finished_count++;
  request->cookie = 0;
  connection->idle[connection->idle_count++] = (unsigned)(request - connection->requests);
  input->start += REPLY_HEADER_SIZE + payload_size;
  return 1;
}

static void receive_replies(struct connection *connection) {
  struct buffer *input = &connection->input;
  if (input->start == input->end || input->start > input->size / 2) {
    memmove(input->bytes, input->bytes + input->start, input->end - input->start);
    input->end -= input->start;
    input->start = 0;
  }
  ssize_t count = recv(connection->socket, input->bytes + input->end, input->size - input->end, 0);
  if (count < 0 && errno == EAGAIN) return;
  if (count < 0) fail("recv: %s", strerror(errno));
  if (count == 0) fail("the server closed the connection");
  input->end += (size_t)count;
  uint64_t time = nanoseconds();
  while (take_reply(connection, time)) continue;
}

static int may_start(uint64_t time, uint64_t deadline) {
  return settings.operations > 0 ? started_count < settings.operations : time < deadline;
}

static void exchange(struct connection *connections, struct pollfd *polled) {
  uint64_t deadline = nanoseconds() + (uint64_t)(settings.seconds * 1e9);
  for (;;) {
    unsigned outstanding = 0;
    uint64_t time = nanoseconds();
    for (unsigned i = 0; i < settings.connections; i++) {
      struct connection *connection = &connections[i];
      struct buffer *output = &connection->output;
      if (output->start == output->end) {
        output->start = output->end = 0;
        while (connection->idle_count > 0 && may_start(time, deadline)) {
          append_request(connection, time);
        }
      }
      send_output(connection);
      short events = output->start < output->end ? POLLIN | POLLOUT : POLLIN;
      polled[i] = (struct pollfd){.fd = connection->socket, .events = events};
      outstanding += settings.depth - connection->idle_count;
    }
    if (outstanding == 0) return;
    if (poll(polled, settings.connections, SILENCE_MS_MAX) <= 0) fail("no reply came");
    for (unsigned i = 0; i < settings.connections; i++) {
      if (polled[i].revents & (POLLIN | POLLHUP | POLLERR)) receive_replies(&connections[i]);
    }
  }
}

static void print_result(uint64_t elapsed) {
  printf("{\"operations\":%llu,\"errors\":%llu,", (unsigned long long)finished_count,
         (unsigned long long)error_count);
  printf("\"seconds\":%.6f,", (double)elapsed / 1e9);
  printf("\"p50\":%.1f,\"p99\":%.1f,\"p999\":%.1f}\n", percentile(&latencies, 0.5) / 1e3,
         percentile(&latencies, 0.99) / 1e3, percentile(&latencies, 0.999) / 1e3);
  fflush(stdout);
}

int main(int argc, char **argv) {
  parse_arguments(argc, argv);
  struct connection *connections = allocate(settings.connections * sizeof *connections);
  struct pollfd *polled = allocate(settings.connections * sizeof *polled);
  for (unsigned i = 0; i < settings.connections; i++) open_connection(&connections[i]);
  if (settings.wait) {
    puts("ready");
    fflush(stdout);
    while (getchar() != '\n' && !feof(stdin)) continue;
  }
  uint64_t start = nanoseconds();
  exchange(connections, polled);
  print_result(nanoseconds() - start);
  while (settings.wait && getchar() != EOF) continue;
  for (unsigned i = 0; i < settings.connections; i++) {
    uint8_t request[REQUEST_HEADER_SIZE] = {0};
    put32(request, NBD_REQUEST_MAGIC);
    put16(request + 6, NBD_CMD_DISC);
    send_fully(connections[i].socket, request, sizeof request);
  }
  return 0;
}
