// liblz4: the frame format (lz4frame.h) and its block compressor (lz4.h).
#include <lz4.h>
#include <lz4frame.h>
