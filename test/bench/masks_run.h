/*
 * masks_run.h - what build/bench/masks does with a case: scoring, checking, walking.
 */
#ifndef GLM_BENCH_MASKS_RUN_H
#define GLM_BENCH_MASKS_RUN_H

#include <stdio.h>

#include "engine/constrain/constrain.h"
#include "engine/constrain/machine.h"
#include "masks.h"

/* Times in ns. */
typedef struct masks_times
{
	uint32_t *ns;
	size_t	  n, capacity;
} masks_times;

typedef struct masks_bench
{
	/* what was asked for */
	glm_property_order order;
	glm_json_space	   space;
	int				   check; /* one in so many masks is compared with every token's bytes */
	int				   walks; /* a case; 0: cases are scored */
	uint64_t		   seed;
	bool			   verbose;
	bool			   cpu; /* times are what the thread had of a CPU */

	const masks_tokens *tokens;
	uint64_t		   *allowed; /* a mask */
	int					words;

	/* of the case at hand */
	const masks_case *now;
	glm_arena		  arena; /* what lasts */
	glm_arena		  walk;	 /* what states point into */
	glm_machine		 *machine;
	bool			  stepping; /* it is compiled */

	/* what came out */
	int			schemas, passing, compile_errors, validation_errors, invalidation_errors;
	long		checked, differ;
	masks_times mask, first;
	long		walked, drawn, tokens_refused, ways_out, faults, without_value;
} masks_bench;

/* 64 random bits. */
extern uint64_t masks_draw(masks_bench *b);

/* ---- masks_score.c ------------------------------------------------------------------------- */

/* Compiles the schema of a case and feeds it the instances; counts what comes of it. */
extern void masks_score(masks_bench *b, const masks_case *c);

/* ---- masks_walk.c -------------------------------------------------------------------------- */

/* Answers at random, each written to stdout as the case's name, a tab and JSON. */
extern void masks_walk(masks_bench *b, const masks_case *c);

#endif /* GLM_BENCH_MASKS_RUN_H */
