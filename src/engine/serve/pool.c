/*
 * pool.c - the mean, or the last, of the hidden states of a text.
 *
 * States are added as passes bring them, so nothing is kept of a state but its part in the
 * sum.  Each number is summed in double precision by itself and in the order of the
 * positions, so the bits do not depend on how passes cut the text.
 */
#include "engine/serve/pool.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct glm_pool
{
	glm_pooling pooling;
	int			width;
	int			n;		/* states so far */
	float	   *vector; /* [width] */
	double		sum[];	/* [width] */
};

glm_pool *
glm_pool_open(glm_pooling pooling, int width)
{
	glm_pool *pool = calloc(1, sizeof(*pool) + (size_t) width * sizeof(*pool->sum));

	if (pool == NULL)
		return NULL;
	pool->pooling = pooling;
	pool->width = width;
	pool->vector = calloc((size_t) width, sizeof(*pool->vector));
	if (pool->vector != NULL)
		return pool;
	free(pool);
	return NULL;
}

void
glm_pool_close(glm_pool *pool)
{
	if (pool == NULL)
		return;
	free(pool->vector);
	free(pool);
}

void
glm_pool_add(glm_pool *pool, const float *rows, int n)
{
	pool->n += n;
	if (pool->pooling == GLM_POOL_LAST)
	{
		for (int d = 0; n > 0 && d < pool->width; d++)
			pool->sum[d] = rows[(size_t) (n - 1) * (size_t) pool->width + (size_t) d];
		return;
	}
	for (int i = 0; i < n; i++)
	{
		for (int d = 0; d < pool->width; d++)
			pool->sum[d] += rows[d];
		rows += pool->width;
	}
}

int
glm_pool_count(const glm_pool *pool)
{
	return pool->n;
}

const float *
glm_pool_vector(glm_pool *pool, bool normalize, glm_error *err)
{
	double divisor = pool->pooling == GLM_POOL_LAST ? 1 : pool->n;
	double square = 0;

	for (int d = 0; d < pool->width; d++)
		square += (pool->sum[d] / divisor) * (pool->sum[d] / divisor);
	/* a vector of zeros has no direction, and stays as it is */
	if (normalize && square > 0)
		divisor *= sqrt(square);
	for (int d = 0; d < pool->width; d++)
	{
		pool->vector[d] = (float) (pool->sum[d] / divisor);
		if (!isfinite(pool->vector[d]))
		{
			glm_fail(err, GLM_NOT_FINITE, "the model computed a hidden state that is not finite");
			return NULL;
		}
	}
	return pool->vector;
}
