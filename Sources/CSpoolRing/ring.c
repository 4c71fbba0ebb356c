// The headers are all there is; compiling them here checks that they stand alone.
#include "coldpath_row.h"

_Static_assert(sizeof(spool_ring_identity) == 128, "docs/ring.md §2");
_Static_assert(sizeof(spool_record) == 8, "docs/ring.md §6");
_Static_assert(__builtin_offsetof(spool_ring_producer_page, full_rows) == 128, "docs/ring.md §3");
_Static_assert(__builtin_offsetof(spool_ring_consumer_page, taken_position) == 128, "docs/ring.md §3");
_Static_assert(__builtin_offsetof(spool_ring_consumer_page, table_state) == 168, "docs/ring.md §3");
