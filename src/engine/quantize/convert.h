/*
 * convert.h - a model becomes a packed directory, tensor by tensor.
 */
#ifndef GLM_CONVERT_H
#define GLM_CONVERT_H

#include "engine/quantize/work.h"

/* Called as the work goes on; bytes are those of the source done since the last call. */
typedef void (*glm_note_progress)(void *arg, const char *phase, const char *tensor, uint64_t bytes);

typedef struct glm_quantize_job
{
	const char		 *name; /* of the source, for messages */
	const char		 *path;
	const char		 *target;
	const char		 *options; /* see glm_quant_options_read; may be NULL */
	const char		 *texts;   /* calibration, see glm_calibration_open; NULL = none */
	size_t			  memory;  /* of a job with texts, see glm_calibration_open; 0 = default */
	const char		 *kernels;
	glm_work		  work;
	glm_note_progress progress; /* called with the bytes that there are in all first */
	void			 *arg;
} glm_quantize_job;

/*
 * Writes the target, or leaves nothing of it.  *report [*n] is malloc'd: see
 * glm_quantized.
 */
extern bool glm_convert(const glm_quantize_job *job, glm_quantized **report, int *n,
						glm_error *err);

#endif /* GLM_CONVERT_H */
