/* pg_crc32c.h - any checksum will do where both sides have the same one, and some bytes are enough. */
typedef uint32_t pg_crc32c;

static inline pg_crc32c
fuzz_crc(pg_crc32c crc, const void *bytes, size_t n)
{
	for (size_t i = 0; i < n; i += 509)
		crc = (crc ^ ((const uint8_t *) bytes)[i]) * 16777619u;
	return crc;
}

#define INIT_CRC32C(crc) ((crc) = 2166136261u)
#define COMP_CRC32C(crc, bytes, n) ((crc) = fuzz_crc(crc, bytes, n))
#define FIN_CRC32C(crc) (void) 0
#define EQ_CRC32C(a, b) ((a) == (b))
