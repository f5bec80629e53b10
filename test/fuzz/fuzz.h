/*
 * fuzz.h - what the fuzz targets share: one file in a directory of its own.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <stddef.h>
#include <stdint.h>

/* libFuzzer calls it with one input after the other. */
extern int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Writes the input as file `name` of a temporary directory, and names that. */
extern const char *fuzz_write(const char *name, const uint8_t *data, size_t size);

/* Ends the run as a finding unless the condition holds. */
#define FUZZ_CHECK(condition)                                                                      \
	do                                                                                             \
	{                                                                                              \
		if (!(condition))                                                                          \
			__builtin_trap();                                                                      \
	} while (0)

#endif /* FUZZ_H */
