#include "cbench.h"

#include <lz4.h>

size_t bench_bare_lz4(const void *content, size_t count, void *output, size_t room) {
    static LZ4_stream_t stream;
    LZ4_resetStream_fast(&stream);
    const char *from = content;
    char *to = output;
    size_t used = 0;
    while (count > 0) {
        int part = count < 65536 ? (int)count : 65536;
        used += (size_t)LZ4_compress_fast_continue(&stream, from, to + used, part, (int)(room - used), 1);
        from += part;
        count -= (size_t)part;
    }
    return used;
}
