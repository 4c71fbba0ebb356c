#include "coldpath_system.h"

// The whole of libxxhash as static functions: nothing to link, and the compiler sees the loop.
#define XXH_INLINE_ALL
#include <xxhash.h>

_Static_assert(sizeof(XXH32_state_t) <= sizeof(cp_xxh32_state), "room for libxxhash's state");

uint32_t cp_xxh32(const void *bytes, size_t count) { return XXH32(bytes, count, 0); }

void cp_xxh32_begin(cp_xxh32_state *state) { XXH32_reset((XXH32_state_t *)(void *)state, 0); }

void cp_xxh32_add(cp_xxh32_state *state, const void *bytes, size_t count) {
    XXH32_update((XXH32_state_t *)(void *)state, bytes, count);
}

uint32_t cp_xxh32_end(const cp_xxh32_state *state) { return XXH32_digest((const XXH32_state_t *)(const void *)state); }
