/*
 * tuning.h - how products read packed weights, chosen by what it takes on this machine.
 *
 * No constant is right everywhere: what fetches weights best on one CPU costs a fourth of the
 * bandwidth on the next, and on a shared machine memory itself changes by the second.  So
 * some ways of reading (glm_reading) are tried in turns, layer by layer of real passes, and
 * the one that took least is kept, for each dtype and number of rows, until it is judged
 * again.  All of them give the same bits.
 */
#ifndef GLM_TUNING_H
#define GLM_TUNING_H

#include <stdatomic.h>

#include "engine/compute/backend.h"
#include "engine/compute/kernels/packed_kernels.h"

#define GLM_TUNING_WAYS 12	  /* to read, at most */
#define GLM_TUNING_SAMPLES 12 /* of each that are kept */
#define GLM_TUNING_CLASSES 5  /* of numbers of rows */

/* The ways that are tried for one dtype and numbers of rows. */
typedef struct glm_trial
{
	bool	   open;
	atomic_int chosen; /* what is taken while it is not */
	bool	   judged; /* that was chosen by measuring */
	int		   way[GLM_TUNING_WAYS];
	int		   n_ways;										/* that are left */
	int		   wanted;										/* samples of each in this round */
	int		   turn;										/* which of them is at work */
	int		   n_samples;									/* that each of them has */
	double	   sample[GLM_TUNING_WAYS][GLM_TUNING_SAMPLES]; /* by number of the way: ns a byte */
	int64_t	   round_ns;									/* of all samples of this round */
	int64_t	   idle_ns;										/* of products since it was closed */
	/* what the layer at work came to so far */
	int		   layer;
	size_t	   bytes;
	int64_t	   ns;
} glm_trial;

typedef struct glm_tuning
{
	const glm_packed_kernels *kernels;
	atomic_bool				  on;
	int64_t					  patience_ns;					/* that trials may still cost */
	atomic_ullong			  cost_ns;						/* that all trials did */
	glm_trial				  trial[2][GLM_TUNING_CLASSES]; /* of INT4, INT8 */
} glm_tuning;

extern void glm_tuning_init(glm_tuning *tuning, const glm_packed_kernels *kernels);
/* Turned off, it goes by what is known of other machines.  Any thread. */
extern void glm_tuning_set(glm_tuning *tuning, bool on);

/* How to read `bytes` of packed weights for so many rows.  The engine thread's, as is the next. */
extern glm_reading glm_tuning_reading(glm_tuning *tuning, glm_dtype dtype, int rows, int layer,
									  size_t bytes);
/* That took so long. */
extern void glm_tuning_count(glm_tuning *tuning, glm_dtype dtype, int rows, int layer, size_t bytes,
							 int64_t ns);

/* What was chosen by measuring, at most `max`; returns how many.  Any thread. */
extern int glm_tuning_report(const glm_tuning *tuning, glm_tuned *out, int max);

#endif /* GLM_TUNING_H */
