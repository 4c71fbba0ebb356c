// The few things of the machine that Swift cannot reach through Glibc.
#ifndef COLDPATH_SYSTEM_H
#define COLDPATH_SYSTEM_H

#include <stddef.h>
#include <stdint.h>

// CRC-32C (Castagnoli, RFC 3720 appendix B.4) of `count` bytes, continuing from `crc` (0 to begin).
uint32_t cp_crc32c(uint32_t crc, const void *bytes, size_t count);

// The same without the processor's instruction: what machines without SSE 4.2 run, and the test's oracle.
uint32_t cp_crc32c_portable(uint32_t crc, const void *bytes, size_t count);

// XXH32 with seed 0, the checksum of LZ4 frames, by libxxhash: five times as fast as the one inside liblz4 1.9.4.
uint32_t cp_xxh32(const void *bytes, size_t count);

// fallocate(2) with FALLOC_FL_KEEP_SIZE: reserves space without moving the end of the file. 0 or errno.
int cp_reserve(int descriptor, int64_t offset, int64_t count);

// Blocks SIGTERM and SIGINT for the process and returns a descriptor that becomes readable when one arrives, or -1.
// SIGPIPE is ignored from then on: a peer that went away is an error of write(2), not a death.
int cp_stop_signals(void);

// inotify_init1(2) without blocking, or -1.
int cp_watch_open(void);
// Watches a directory for new, changed and renamed files; a watch descriptor, or -1.
int cp_watch_add(int watcher, const char *path);

#endif
