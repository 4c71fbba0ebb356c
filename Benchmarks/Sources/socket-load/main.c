// Sends JSON lines to a spool-writer's socket as fast as it takes them, waits until all are durable, and says what
// that cost: rows a second by the clock, and the processor time of writer and sender for a row.
//
//   socket-load --socket PATH [--rows N] [--batch BYTES] [--lines FILE] [--rate N] [--seed N] [--send-buffer BYTES]
//
// Lines are made before the clock starts: rows of Benchmarks/schemas' bench_events, or the lines of a file, over and over.
// --batch 0 is one line a send. --rate paces the sends; --send-buffer 0 leaves the socket's buffer as the system makes it. The result is one JSON object on standard output.
// Exit status: 0 measured, 1 lines were refused, 64 usage, 74 the connection or a file failed.
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "cbench.h"

// Lines that differ; more than a chunk holds, so that none repeats within the window of its compression.
enum { MADE_LINES = 100000, LINE_BYTES = 512, SEND_BUFFER = 4 << 20, ANSWER_BYTES = 1 << 16, DRAIN_SECONDS = 60 };

static _Noreturn void fail(int status, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("socket_load: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(status);
}

static int64_t now(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

// Lines, one behind the other: line i is bytes [ends[i], ends[i + 1]).
struct lines {
    char *bytes;
    size_t *ends;
    size_t count;
};

static uint64_t seed = 1;

static struct lines make_lines(size_t count) {
    static const char *const kinds[] = {"", "new", "replace", "cancel", "trade"};
    struct lines lines = {malloc(count * LINE_BYTES), malloc((count + 1) * sizeof(size_t)), count};
    if (!lines.bytes || !lines.ends) fail(74, "no memory for %zu lines", count);
    bench_source source;
    bench_begin(&source, seed);
    size_t used = 0;
    for (size_t i = 0; i < count; i++) {
        bench_values v;
        bench_next(&source, &v);
        int64_t cents = v.price / 1000000;
        lines.ends[i] = used;
        int made = snprintf(
            lines.bytes + used, LINE_BYTES,
            "{\"table\":\"bench_events\",\"ts\":%" PRId64 ",\"ts_local\":%" PRId64 ",\"seq_no\":%" PRIu64 ",\"order_id\":%" PRIu64
            ",\"price\":%" PRId64 ".%02d,\"qty\":%" PRId64 ".%02d,\"bid\":%" PRId64 ".%02d,\"ask\":%" PRId64
            ".%02d,\"bid_size\":%.2f,\"ask_size\":%.2f,\"latency_ns\":%" PRIu32 ",\"flags\":%" PRIu32
            ",\"level\":%d,\"kind\":\"%s\",\"is_maker\":%s,\"symbol\":\"%s\",\"venue\":\"%s\""
            ",\"strategy\":\"%s\",\"account\":\"%s\",\"client_id\":\"%.*s\"}\n",
            v.ts, v.ts_local, v.seq_no, v.order_id, cents / 100, (int)(cents % 100), v.qty / 100000000, (int)(v.qty / 1000000 % 100),
            cents / 100, (int)(cents % 100), (cents + 1) / 100, (int)((cents + 1) % 100), v.bid_size, v.ask_size, v.latency_ns, v.flags,
            v.level, kinds[v.kind], v.is_maker ? "true" : "false", bench_symbols[v.symbol], bench_venues[v.venue],
            bench_strategies[v.strategy], bench_accounts[v.account], BENCH_CLIENT_ID, v.client_id);
        if (made >= LINE_BYTES) fail(74, "a line of more than %d bytes", LINE_BYTES);
        used += (size_t)made;
    }
    lines.ends[count] = used;
    return lines;
}

static struct lines read_lines(const char *path) {
    FILE *file = fopen(path, "rb");
    struct stat status;
    if (!file || fstat(fileno(file), &status) != 0) fail(74, "cannot read %s: %s", path, strerror(errno));
    size_t size = (size_t)status.st_size;
    char *bytes = malloc(size + 1);
    if (!bytes || fread(bytes, 1, size, file) != size) fail(74, "cannot read %s", path);
    fclose(file);
    size_t count = 0;
    for (size_t i = 0; i < size; i++) count += bytes[i] == '\n';
    if (count == 0 || bytes[size - 1] != '\n') fail(74, "%s does not end with a whole line", path);
    struct lines lines = {bytes, malloc((count + 1) * sizeof(size_t)), count};
    if (!lines.ends) fail(74, "no memory for %zu lines", count);
    lines.ends[0] = 0;
    size_t line = 0;
    for (size_t i = 0; i < size; i++)
        if (bytes[i] == '\n') lines.ends[++line] = i + 1;
    return lines;
}

struct processor_time {
    int64_t user, system;
};

// Processor time of another process in nanoseconds. The kernel counts ticks of some milliseconds: enough for runs of seconds.
static struct processor_time processor_time(pid_t pid) {
    char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "r");
    if (!file) fail(74, "cannot read %s: %s", path, strerror(errno));
    size_t count = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[count] = 0;
    // The name stands in parentheses and may hold anything; what follows it is numbers.
    char *rest = strrchr(text, ')');
    struct processor_time time;
    if (!rest || sscanf(rest + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %" SCNd64 " %" SCNd64, &time.user, &time.system) != 2)
        fail(74, "%s is not as expected", path);
    int64_t tick = 1000000000 / sysconf(_SC_CLK_TCK);
    return (struct processor_time){time.user * tick, time.system * tick};
}

static int connect_to(const char *path, int send_buffer) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path) fail(64, "socket path too long: %s", path);
    strcpy(address.sun_path, path);
    int descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (descriptor < 0 || connect(descriptor, (struct sockaddr *)&address, sizeof address) != 0)
        fail(74, "cannot connect to %s: %s", path, strerror(errno));
    // The sender's buffer is the window of a unix socket; the usual 208 KiB let sender and writer take turns.
    if (send_buffer > 0) setsockopt(descriptor, SOL_SOCKET, SO_SNDBUF, &send_buffer, sizeof send_buffer);
    return descriptor;
}

struct progress {
    uint64_t accepted, refused, durable;
};

// Reads what answers are there, and waits for the first of them if asked to.
static void take_answers(int descriptor, bool wait, struct progress *progress) {
    static char text[ANSWER_BYTES];
    static size_t held = 0;
    while (true) {
        ssize_t count = recv(descriptor, text + held, sizeof text - 1 - held, wait ? 0 : MSG_DONTWAIT);
        if (count == 0) fail(74, "the writer closed the connection");
        if (count < 0) {
            if (errno == EINTR) continue;
            if (errno == EAGAIN) return;
            fail(74, "recv: %s", strerror(errno));
        }
        wait = false;
        held += (size_t)count;
        text[held] = 0;
        char *line = text;
        for (char *end; (end = strchr(line, '\n')); line = end + 1) {
            *end = 0;
            struct progress seen;
            if (sscanf(line, "{\"accepted\":%" SCNu64 ",\"refused\":%" SCNu64 ",\"durable\":%" SCNu64, &seen.accepted, &seen.refused,
                       &seen.durable) == 3)
                *progress = seen;
            else if (!strncmp(line, "{\"refused\":{\"line\":1,", 21) || !strncmp(line, "{\"error\"", 8))
                fprintf(stderr, "socket_load: %s\n", line);
        }
        held -= (size_t)(line - text);
        memmove(text, line, held);
        if (held == sizeof text - 1) fail(74, "an answer of more than %d bytes", ANSWER_BYTES);
    }
}

static void send_all(int descriptor, const char *bytes, size_t count, struct progress *progress) {
    while (count > 0) {
        ssize_t sent = send(descriptor, bytes, count, MSG_NOSIGNAL);
        if (sent < 0) {
            if (errno == EINTR) continue;
            take_answers(descriptor, false, progress);
            fail(74, "send: %s", strerror(errno));
        }
        bytes += sent;
        count -= (size_t)sent;
    }
}

static uint64_t number(const char *text) {
    char *end;
    errno = 0;
    uint64_t value = strtoull(text, &end, 10);
    if (errno || end == text || *end) fail(64, "%s is not a number", text);
    return value;
}

int main(int count, char **arguments) {
    const char *path = NULL, *file = NULL;
    uint64_t rows = 2000000, batch = 64 << 10, rate = 0, send_buffer = SEND_BUFFER;
    for (int i = 1; i < count; i += 2) {
        const char *flag = arguments[i];
        if (i + 1 == count) fail(64, "%s wants a value; see the head of this source for the usage", flag);
        const char *value = arguments[i + 1];
        if (!strcmp(flag, "--socket")) path = value;
        else if (!strcmp(flag, "--lines")) file = value;
        else if (!strcmp(flag, "--rows")) rows = number(value);
        else if (!strcmp(flag, "--batch")) batch = number(value);
        else if (!strcmp(flag, "--rate")) rate = number(value);
        else if (!strcmp(flag, "--send-buffer")) send_buffer = number(value);
        else if (!strcmp(flag, "--seed")) seed = number(value);
        else fail(64, "unknown option %s", flag);
    }
    if (!path || rows == 0) fail(64, "--socket PATH and at least one row are wanted");
    struct lines lines = file ? read_lines(file) : make_lines(rows < MADE_LINES ? rows : MADE_LINES);
    int descriptor = connect_to(path, (int)send_buffer);
    struct ucred peer;
    socklen_t size = sizeof peer;
    if (getsockopt(descriptor, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) fail(74, "SO_PEERCRED: %s", strerror(errno));

    struct progress progress = {0};
    uint64_t bytes = 0, sent = 0;
    size_t line = 0;
    struct processor_time before = processor_time(peer.pid);
    int64_t own = now(CLOCK_PROCESS_CPUTIME_ID), start = now(CLOCK_MONOTONIC);
    for (uint64_t sends = 0; sent < rows; sends++) {
        // As many whole lines as fit, at least one, up to where the lines begin anew.
        size_t end = line + 1, most = line + (rows - sent);
        if (most > lines.count) most = lines.count;
        while (end < most && lines.ends[end + 1] - lines.ends[line] <= batch) end++;
        if (rate > 0) {
            int64_t wait = start + (int64_t)(sent * 1000000000.0 / rate) - now(CLOCK_MONOTONIC);
            if (wait > 50000) nanosleep(&(struct timespec){wait / 1000000000, wait % 1000000000}, NULL);
        }
        send_all(descriptor, lines.bytes + lines.ends[line], lines.ends[end] - lines.ends[line], &progress);
        bytes += lines.ends[end] - lines.ends[line];
        sent += end - line;
        line = end == lines.count ? 0 : end;
        if (sends % 64 == 0) take_answers(descriptor, false, &progress);
    }
    int64_t all_sent = now(CLOCK_MONOTONIC);
    struct timeval patience = {.tv_sec = DRAIN_SECONDS};
    setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    while (progress.durable < rows) {
        uint64_t durable = progress.durable;
        take_answers(descriptor, true, &progress);
        if (progress.durable == durable && now(CLOCK_MONOTONIC) - all_sent > DRAIN_SECONDS * INT64_C(1000000000))
            fail(74, "%" PRIu64 " of %" PRIu64 " lines durable after %d s", progress.durable, rows, DRAIN_SECONDS);
    }
    int64_t wall = now(CLOCK_MONOTONIC) - start;
    own = now(CLOCK_PROCESS_CPUTIME_ID) - own;
    struct processor_time after = processor_time(peer.pid);
    double user = (double)(after.user - before.user) / rows, system = (double)(after.system - before.system) / rows;
    printf("{\"rows\":%" PRIu64 ",\"bytes_per_line\":%.1f,\"batch_bytes\":%" PRIu64 ",\"refused\":%" PRIu64
           ",\"seconds\":%.3f,\"rows_per_second\":%.0f,\"writer_ns_per_row\":%.1f,\"writer_user_ns\":%.1f,\"writer_system_ns\":%.1f,\"sender_ns_per_row\":%.1f}\n",
           rows, (double)bytes / rows, batch, progress.refused, wall / 1e9, rows * 1e9 / wall, user + system, user, system,
           (double)own / rows);
    return progress.refused > 0;
}
