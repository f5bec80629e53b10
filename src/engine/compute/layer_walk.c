/*
 * layer_walk.c - the way through a layer:
 *
 *     x += dense(attention(qkv(rmsnorm(x))))
 *     x += down(swiglu(gate_up(rmsnorm(x))))
 *
 * Serving takes it with all rows at once; calibration looks at the inputs of the products
 * on the way, and goes in slices, so that it can be ended in between.  Both are one walk,
 * so what is measured is what will run.
 */
#include "engine/compute/layer_walk.h"

#include "engine/model/model.h"

/* Columns of a projection's input. */
static size_t
inputs(const glm_model *model, glm_projection projection)
{
	int n;

	return (size_t) glm_model_matrices(model, projection, 0, &n)->tensor.shape[1];
}

/* Floats of n rows of qkv, so many that what follows them is aligned. */
static size_t
qkv_floats(const glm_model *model, int n)
{
	return ((size_t) n * (size_t) glm_model_width(model, GLM_QKV) + 15) / 16 * 16;
}

size_t
glm_walk_shared(const glm_model *model, int n)
{
	size_t attention = qkv_floats(model, n) + (size_t) n * inputs(model, GLM_DENSE);
	size_t gated = (size_t) n * inputs(model, GLM_DOWN);

	return attention > gated ? attention : gated;
}

static bool
walk_goes_on(const glm_walk *w, glm_error *err)
{
	return w->observer == NULL || w->observer->go_on(w->observer->arg, err);
}

/* Rows from `at` that one operation takes. */
static int
slice_at(const glm_walk *w, int at)
{
	return w->n - at < w->slice ? w->n - at : w->slice;
}

/* c = a w^T + bias, or what else matmul can make of it; a dense, c `width` wide */
static bool
multiply(const glm_walk *w, glm_mem c, size_t width, glm_mem a, glm_projection projection,
		 int layer, bool add, glm_error *err)
{
	size_t				k = inputs(w->model, projection);
	const glm_observer *o = w->observer;

	if (o != NULL && !o->input(o->arg, projection, a, (int) k, w->n, err))
		return false;
	for (int at = 0; at < w->n; at += w->slice)
	{
		if (!walk_goes_on(w, err))
			return false;
		w->backend->matmul(w->dev, glm_at(c, (size_t) at * width), glm_at(a, (size_t) at * k), k,
						   projection, layer, slice_at(w, at), add, projection == GLM_GATE_UP);
	}
	return true;
}

static bool
walk_attention(const glm_walk *w, glm_mem out, glm_mem qkv, int kv_layer, glm_error *err)
{
	size_t width = (size_t) glm_model_width(w->model, GLM_QKV);
	size_t out_width = inputs(w->model, GLM_DENSE);

	for (int at = 0; at < w->n; at += w->slice)
	{
		if (!walk_goes_on(w, err))
			return false;
		w->backend->attention(w->dev, glm_at(out, (size_t) at * out_width),
							  glm_at(qkv, (size_t) at * width), kv_layer, at, slice_at(w, at));
	}
	return true;
}

static void
add_time(const glm_walk *w, glm_pass_part part)
{
	if (w->times != NULL)
		glm_pass_times_add(w->times, part);
}

bool
glm_layer_walk(const glm_walk *w, int layer, int kv_layer, glm_error *err)
{
	size_t	hidden = (size_t) w->model->config.hidden;
	glm_mem qkv = w->shared, context = glm_at(qkv, qkv_floats(w->model, w->n));
	glm_mem gated = w->shared;

	w->backend->rmsnorm(w->dev, w->normed, w->x, GLM_ATTN_NORM, layer, w->n);
	if (!multiply(w, qkv, (size_t) glm_model_width(w->model, GLM_QKV), w->normed, GLM_QKV, layer,
				  false, err))
		return false;
	add_time(w, GLM_PART_MATMUL);
	if (!walk_attention(w, context, qkv, kv_layer, err))
		return false;
	add_time(w, GLM_PART_ATTENTION);
	if (!multiply(w, w->x, hidden, context, GLM_DENSE, layer, true, err))
		return false;
	w->backend->rmsnorm(w->dev, w->normed, w->x, GLM_FFN_NORM, layer, w->n);
	if (!multiply(w, gated, inputs(w->model, GLM_DOWN), w->normed, GLM_GATE_UP, layer, false,
				  err) ||
		!multiply(w, w->x, hidden, gated, GLM_DOWN, layer, true, err))
		return false;
	add_time(w, GLM_PART_MATMUL);
	return true;
}
