/*
 * layer_walk.h - the way through a layer, the same for whoever takes it.
 */
#ifndef GLM_LAYER_WALK_H
#define GLM_LAYER_WALK_H

#include "engine/compute/backend.h"
#include "engine/compute/pass_times.h"

/* Who watches a walk. */
typedef struct glm_observer
{
	/* Asked before each operation that takes long; false: end the walk. */
	glm_go_on go_on;
	/* Shown what the projection will be multiplied with: x [n, width], dense. */
	bool (*input)(void *arg, glm_projection projection, glm_mem x, int width, int n,
				  glm_error *err);
	void *arg;
} glm_observer;

/* What is walked with; the pass has been begun. */
typedef struct glm_walk
{
	const glm_backend  *backend;
	glm_device		   *dev;
	const glm_model	   *model;
	glm_mem				x;		  /* [n, hidden]: the residual stream */
	glm_mem				normed;	  /* [n, hidden] */
	glm_mem				shared;	  /* glm_walk_shared(model, n) floats */
	int					n;		  /* rows of the pass */
	int					slice;	  /* of them in one operation that takes long */
	const glm_observer *observer; /* NULL: nobody */
	glm_pass_times	   *times;	  /* NULL: nobody asks */
} glm_walk;

/* Floats that qkv and attention's output, or else the gated rows, take. */
extern size_t glm_walk_shared(const glm_model *model, int n);

/*
 * Takes x through a layer; keys and values go to, and are read from, place kv_layer of the
 * rows' KV blocks.  false: the observer ended it.
 */
extern bool glm_layer_walk(const glm_walk *walk, int layer, int kv_layer, glm_error *err);

#endif /* GLM_LAYER_WALK_H */
