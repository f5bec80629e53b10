/*
 * sanitized.h - does malloc, or resident memory, tell what the program takes?
 *
 * Sanitizers and valgrind have memory of their own and a malloc that nothing counts.
 */
#ifndef SANITIZED_H
#define SANITIZED_H

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif

#ifndef SANITIZED
#define SANITIZED 0
#endif

static inline bool
memory_tells(void)
{
	const char *preload = getenv("LD_PRELOAD"); /* by which valgrind replaces malloc */

	return !SANITIZED && (preload == NULL || strstr(preload, "vgpreload") == NULL);
}

#endif /* SANITIZED_H */
