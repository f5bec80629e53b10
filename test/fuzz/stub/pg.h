/*
 * pg.h - what single files of src/pg need of PostgreSQL, so that they can be fuzzed without it.
 *
 * It stands in the place of chatglm.h.  An ERROR leaves by fuzz_escape; a LOG does nothing.
 */
#ifndef FUZZ_PG_H
#define FUZZ_PG_H

#define CHATGLM_H

#include <errno.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/glm.h"

typedef uint16_t	  uint16;
typedef uint32_t	  uint32;
typedef uint64_t	  uint64;
typedef int64_t		  int64;
typedef size_t		  Size;
typedef unsigned	  Oid;
typedef int64		  TimestampTz;
typedef struct LWLock LWLock;

#define NAMEDATALEN 64
#define MAXPGPATH 1024
#define StaticAssertDecl(condition, message) _Static_assert(condition, message)

#define LOG 15
#define ERROR 21
#define ereport(level, rest)                                                                       \
	do                                                                                             \
	{                                                                                              \
		(void) fuzz_report rest;                                                                   \
		if ((level) >= ERROR)                                                                      \
			longjmp(fuzz_escape, 1);                                                               \
	} while (0)
#define errcode(code) 0
#define errcode_for_file_access() 0
#define errmsg(...) fuzz_report(__VA_ARGS__)
#define errhint(...) fuzz_report(__VA_ARGS__)
#define fuzz_report(...) fuzz_ignore(0, __VA_ARGS__)

static inline int
fuzz_ignore(int first, ...)
{
	return first;
}

extern jmp_buf fuzz_escape;

#endif /* FUZZ_PG_H */
