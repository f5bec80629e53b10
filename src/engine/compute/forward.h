/*
 * forward.h - one forward pass over rows of many sequences, on a device.
 */
#ifndef GLM_FORWARD_H
#define GLM_FORWARD_H

#include "engine/base/threads.h"
#include "engine/compute/pass_times.h"
#include "engine/compute/rows.h"

typedef struct glm_forward glm_forward; /* an opened device with the buffers of a pass */

typedef struct glm_forward_options
{
	const char		  *device;	/* as is the next, see glm_config */
	const glm_backend *backend; /* that is not built in; NULL: none */
	const char		  *kernels;
	glm_arithmetic	   arithmetic;
	glm_threads		  *pool;
	int				   max_rows;   /* of a pass */
	int				   max_logits; /* of these rows, that want logits; 0: all */
} glm_forward_options;

extern glm_forward *glm_forward_open(const glm_forward_options *options, glm_error *err);
extern void			glm_forward_close(glm_forward *fwd);
/* Places for models, see backend.h, and what can be said of one. */
extern int			glm_forward_places(const glm_forward *fwd);
extern void			glm_forward_info(const glm_forward *fwd, int place, glm_device_info *info);
/* What the device chooses by measuring, see glm_backend; cost_ns is 0 where it does not. */
extern int	glm_forward_tuned(const glm_forward *fwd, glm_tuned *out, int max, uint64_t *cost_ns);
extern void glm_forward_set_tuning(glm_forward *fwd, bool on);

/* A place's pool of KV blocks, once; and a copy of one, before what is computed next. */
extern bool glm_forward_kv_pool(glm_forward *fwd, int place, size_t bytes, glm_error *err);
extern void glm_forward_kv_copy(glm_forward *fwd, int place, uint32_t to, uint32_t from,
								size_t bytes);

/*
 * Makes a model resident, with pauses; brings back what the system took of one that was
 * idle; lets go of it before it is closed.  Any thread.
 */
extern glm_weights *glm_forward_load(glm_forward *fwd, int place, const glm_model *model,
									 glm_error *err);
extern bool			glm_forward_refresh(glm_forward *fwd, glm_weights *weights, glm_error *err);
extern void			glm_forward_unload(glm_forward *fwd, glm_weights *weights);

/* Does the device have memory of its own, so that what is there needs none of the host's? */
extern bool		glm_forward_on_device(const glm_forward *fwd);
/* Bytes of it that a model would take, those by which buffers grow among them. */
extern void		glm_forward_need(const glm_forward *fwd, int place, const glm_model *model,
								 glm_footprint *need);
extern uint64_t glm_forward_growth(const glm_forward *fwd, int place, const glm_model *model);
/* Bytes that are free there; of the host's there are any. */
extern uint64_t glm_forward_room(const glm_forward *fwd, int place);
/* Says both in *err; false. */
extern bool		glm_forward_no_room(const glm_forward *fwd, int place, const glm_model *model,
									glm_error *err);

/* Grows a place's buffers to what this model needs.  Engine thread, between passes. */
extern bool glm_forward_prepare(glm_forward *fwd, int place, const glm_model *model,
								glm_error *err);

/*
 * What was wanted, in the order of the rows; the caller's until the next pass at that place, or
 * the next but one where a pass follows.
 */
typedef struct glm_results
{
	float				*logits; /* [n_logits, vocab], see below; NULL: none came home */
	float				*hidden; /* [n_hidden, hidden] */
	const glm_picked_id *picked; /* [n_logits]; NULL: it did not */
} glm_results;

/*
 * One forward pass.  Rows of one sequence are neighbours in ascending position; positions
 * before the first have their KV in place.  Writes the KV of every row.  Each row's
 * result depends on its own sequence only, bit for bit.
 *
 * picks: how to pick by the logits of each row that wants them [n_logits].  A device that
 * picks then does so, and the logits stay there, but for those of rows that nothing is picked
 * for (n_ids is 0), which come home; as all do where it does not pick, or picks is NULL.
 */
extern bool glm_forward_run(glm_forward *fwd, const glm_model *model, const glm_weights *weights,
							const glm_pass *pass, const glm_pick *picks, glm_results *results,
							glm_error *err);

/*
 * The same in two: rows, picks and what results name stay as they are until it is finished.
 * Others may be started meanwhile, at places that have no device in common with this one.  false:
 * it has ended, and there is nothing to finish.
 *
 * A second pass of the same model may be started behind one that picks (results->picked is not
 * NULL, one device), without pauses: in place of a token its rows may name the slot where that
 * one picks it, as -1 - slot.  finish() and what is below are then for the first.  If that fails,
 * what comes of the second means nothing, but it must be finished too.
 */
extern bool glm_forward_start(glm_forward *fwd, const glm_model *model, const glm_weights *weights,
							  const glm_pass *pass, const glm_pick *picks, glm_results *results,
							  glm_error *err);
extern bool glm_forward_finish(glm_forward *fwd, const glm_weights *weights, glm_error *err);

/*
 * Has the logits of n rows of a pass that was finished come home too, of the n_logits that it
 * has, before another begins at that place; waits for all that were fetched.
 */
extern void glm_forward_fetch(glm_forward *fwd, const glm_weights *weights, size_t vocab,
							  int n_logits, int first, int n, glm_results *results);
extern bool glm_forward_fetched(glm_forward *fwd, const glm_weights *weights, glm_error *err);
/* Would finish() at this place return at once? */
extern bool glm_forward_ready(const glm_forward *fwd, int place);

/* Where the time of the last pass that was finished at a place went. */
extern const glm_pass_times *glm_forward_times(const glm_forward *fwd, int place);

/* Has a pass, or a call, lost the device?  Then all that is left is to close it.  Any thread. */
extern bool glm_forward_lost(const glm_forward *fwd);

#endif /* GLM_FORWARD_H */
