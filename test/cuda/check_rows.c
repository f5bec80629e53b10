/*
 * check_rows.c - embedding, norm, gathering, SwiGLU.
 */
#include <math.h>
#include <string.h>

#include "check_codes.h"
#include "check_matrix.h"
#include "engine/compute/kernels/kernels.h"

/* Room for activations in 8 bits, or none. */
static cuda_codes
some_codes(int m, int cols)
{
	int group = ck_draw(0, 3);

	return group == 3 ? (cuda_codes){0} : ck_codes(m, cols, 32 << group);
}

/* What a kernel left: floats, and the same in 8 bits where it was to. */
static void
compare(const char *what, const float *got, const cuda_codes *to, const float *wanted, int m,
		int cols)
{
	ck_same_floats(what, got, wanted, (size_t) (m * cols));
	if (to->group > 0)
		ck_same_codes(what, to, wanted, cols);
}

static void
check_norm(void)
{
	int				   n = ck_draw(1, 9), width = ck_draw(1, 700);
	size_t			   floats = (size_t) n * (size_t) width;
	float			  *x = ck_take(floats * 4), *weight = ck_take((size_t) width * 4);
	float			  *got = ck_take(floats * 4), *wanted = ck_take(floats * 4);
	const glm_kernels *k = &glm_kernels_scalar;
	cuda_codes		   to;

	ck_fill(x, floats);
	ck_fill(weight, (size_t) width);
	for (int i = 0; i < n; i++)
	{
		const float *row = x + i * width;
		float		 sum = k->square_sum(row, width);

		k->scale(wanted + i * width, row, 1.0f / sqrtf(sum / (float) width + 1e-5f), weight, width);
	}
	to = some_codes(n, width);
	cuda_rmsnorm(&ck_launcher, &(rmsnorm_args){got, x, weight, to, width, 1e-5f},
				 to.group > 0 ? to.ld : n);
	compare("rmsnorm", got, &to, wanted, n, width);
}

static void
check_swiglu(void)
{
	int		   n = ck_draw(1, 9), width = ck_draw(1, 500);
	size_t	   floats = (size_t) n * (size_t) width;
	float	  *x = ck_take(floats * 8), *got = ck_take(floats * 4), *wanted = ck_take(floats * 4);
	cuda_codes to;

	ck_fill(x, 2 * floats);
	x[0] = ck_draw(0, 1) ? 200 : -200; /* beyond what the exponential takes */
	for (int i = 0; i < n; i++)
	{
		memcpy(wanted + i * width, x + 2 * i * width, (size_t) width * 4);
		glm_kernels_scalar.swiglu(wanted + i * width, x + (2 * i + 1) * width, width);
	}
	to = some_codes(n, width);
	cuda_swiglu(&ck_launcher, &(swiglu_args){got, x, to, width}, to.group > 0 ? to.ld : n);
	compare("swiglu", got, &to, wanted, n, width);
}

static void
check_gather(void)
{
	int		 rows = ck_draw(1, 9), n = ck_draw(1, 9), width = ck_draw(1, 300);
	size_t	 bytes = (size_t) width * 4;
	float	*x = ck_take((size_t) rows * bytes);
	float	*got = ck_take((size_t) n * bytes), *wanted = ck_take((size_t) n * bytes);
	int32_t *index = ck_take((size_t) n * 4);

	ck_fill(x, (size_t) rows * (size_t) width);
	for (int i = 0; i < n; i++)
	{
		index[i] = ck_draw(0, rows - 1);
		memcpy(wanted + i * width, x + index[i] * width, bytes);
	}
	cuda_gather(&ck_launcher, &(gather_args){got, x, index, width}, n);
	ck_same_floats("gather", got, wanted, (size_t) n * (size_t) width);
}

/* Every third token is one that was picked before, or the first where none was. */
static void
check_embed(void)
{
	glm_tensor t = ck_matrix((glm_dtype) ck_draw(GLM_F32, GLM_Q8), ck_draw(1, 90), ck_draw(1, 300));
	int		   n = ck_draw(1, 6), width = (int) t.shape[1];
	float	  *got = ck_take((size_t) (n * width) * 4), *wanted = ck_take((size_t) (n * width) * 4);
	cuda_row  *row = ck_take((size_t) n * sizeof(*row));
	cuda_picked *picked = ck_take((size_t) n * sizeof(*picked));
	embed_args	 a = {.x = got,
					  .table = t.data,
					  .row = row,
					  .picked = picked,
					  .width = width,
					  .dtype = (int) t.dtype,
					  .group = t.group};

	if (glm_is_packed(t.dtype))
	{
		a.tile_bytes = glm_packed_tile_bytes(t.dtype, (size_t) width, (size_t) t.group);
		a.head = glm_packed_head(t.dtype, (size_t) width, (size_t) t.group);
	}
	for (int i = 0; i < n; i++)
	{
		int	 token = ck_draw(0, (int) t.shape[0] - 1);
		bool none = i % 3 == 2 && ck_draw(0, 3) == 0;

		picked[i].id = none ? -1 : token;
		token = none ? 0 : token;
		row[i].token = i % 3 == 2 ? -1 - i : token;
		ck_row(wanted + i * width, &t, token);
	}
	cuda_embed(&ck_launcher, &a, n);
	ck_same_floats("embed", got, wanted, (size_t) (n * width));
}

void
ck_rows(int times)
{
	for (int i = 0; i < times; i++)
	{
		check_norm();
		check_swiglu();
		check_gather();
		check_embed();
		ck_free_all();
	}
}
