/*
 * readers.h - JSON machines of tests: what they read, and how they end it.
 */
#ifndef READERS_H
#define READERS_H

#include "engine/constrain/machine.h"

typedef struct reader_case
{
	const char *schema;
	const char *valid[12];	 /* read to their ends */
	const char *invalid[12]; /* not */
} reader_case;

/* A machine of a schema, ready for a text; the test fails when it is refused. */
extern void reader_open(const char *schema, glm_property_order order, glm_json_space space);
extern void reader_close(void);

/* Bytes of a text that may come; -1: all, and it may end there. */
extern int		   reader_reads(const char *text);
/* Goes on from where the last text stopped, which has to be its end so far.  false: not by all of it. */
extern bool		   reader_goes_on(const char *text);
/* Bytes that have to be tried there to see if they may come. */
extern int		   reader_untold(void);
/* A known way to the end from there, good until the next; NULL: none within so many steps. */
extern const char *reader_end(long steps);

extern void assert_cases(const reader_case *cases, size_t n, glm_property_order order,
						 glm_json_space space);
/* Opening the schema or reading the text leaves by the escape with this. */
extern void assert_escapes(const char *schema, const char *text, glm_status status,
						   const char *why);
/* A text is refused at exactly this byte, from 0. */
extern void assert_stops(const char *schema, const char *text, int at);

/* A teardown. */
extern int reader_teardown(void **state);

#endif /* READERS_H */
