/*
 * test_kernels.c - every kernel table this CPU can run, bit for bit.
 *
 * The scalar table is checked against the definition in kernels.h, written
 * down once more here, and against double precision.  Every other table must
 * then give the scalar table's bits.  Tables that the CPU lacks are named and
 * left out.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/half.h"
#include "engine/compute/kernels/kernels.h"

/* ---- Data --------------------------------------------------------------- */

static uint64_t seed = 1;

static uint32_t
random_bits(void)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t) (seed >> 32);
}

/* Uniform in [-1, 1). */
static float
random_float(void)
{
	return (float) (int32_t) random_bits() * 0x1p-31f;
}

static void
fill(float *x, size_t n)
{
	for (size_t i = 0; i < n; i++)
		x[i] = random_float();
}

static size_t
size_of(glm_dtype dtype)
{
	return dtype == GLM_F32 ? 4 : dtype == GLM_I8 ? 1 : 2;
}

/* n weights between about -1 and 1 at w, which may be unaligned. */
static void
fill_weights(uint8_t *w, size_t n, glm_dtype dtype)
{
	for (size_t i = 0; i < n; i++)
	{
		float	 value = random_float();
		uint16_t half = (uint16_t) random_bits();

		if (dtype == GLM_F16)
			half = (half & 0x83ff) | (uint16_t) ((random_bits() % 16) << 10); /* subnormals too */
		if (dtype == GLM_I8)
			half = (uint16_t) (uint8_t) ((int) (random_bits() % 255) - 127);
		if (dtype == GLM_BF16)
			half = (half & 0x807f) | (uint16_t) ((100 + random_bits() % 27) << 7);
		memcpy(w + i * size_of(dtype), dtype == GLM_F32 ? (void *) &value : (void *) &half,
			   size_of(dtype));
	}
}

static float
weight(const uint8_t *w, size_t i, glm_dtype dtype)
{
	float	 value;
	uint16_t half;

	memcpy(&value, w + i * size_of(dtype), dtype == GLM_F32 ? 4 : 0);
	memcpy(&half, w + i * size_of(dtype), dtype == GLM_F32 ? 0 : 2);
	return dtype == GLM_F32	  ? value
		   : dtype == GLM_F16 ? glm_f16_to_f32(half)
							  : glm_bf16_to_f32(half);
}

/* The vector tables this CPU can run. */
static const glm_kernels *tables[4];
static int				  n_tables;

static void
find_tables(void)
{
	static const char *const names[] = {"avx2", "avx512", "neon"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
	{
		glm_error		   err;
		const glm_kernels *table = glm_kernels_find(names[i], &err);

		printf("# %s: %s\n", names[i], table ? "tested" : err.message);
		if (table != NULL)
			tables[n_tables++] = table;
	}
}

/* ---- Choosing ----------------------------------------------------------- */

static void
test_find(void **state)
{
	glm_error err;

	(void) state;
	assert_ptr_equal(glm_kernels_find("scalar", &err), &glm_kernels_scalar);
	assert_non_null(glm_kernels_find("auto", &err));
	for (int i = 0; i < n_tables; i++)
		assert_ptr_equal(glm_kernels_find(tables[i]->name, &err), tables[i]);
	if (n_tables > 0)
		assert_ptr_not_equal(glm_kernels_find("auto", &err), &glm_kernels_scalar);

	assert_null(glm_kernels_find("sse9", &err));
	assert_int_equal(err.status, GLM_BAD_ARGUMENT);
	assert_non_null(strstr(err.message, "sse9"));
#if defined(__x86_64__)
	assert_null(glm_kernels_find("neon", &err));
#else
	assert_null(glm_kernels_find("avx2", &err));
#endif
	assert_int_equal(err.status, GLM_UNSUPPORTED);
}

/* ---- Matrix product ----------------------------------------------------- */

/* kernels.h's definition of a dot product, with the double result beside it. */
static float
defined_dot(const float *a, const uint8_t *w, int k, glm_dtype dtype, double *exact, double *size)
{
	float lane[16] = {0};
	int	  steps = (k + 15) / 16 * 16;

	*exact = *size = 0;
	for (int i = 0; i < steps; i++)
	{
		float x = i < k ? a[i] : 0;
		float y = i < k ? weight(w, (size_t) i, dtype) : 0;

		lane[i % 16] = fmaf(x, y, lane[i % 16]);
		*exact += (double) x * y;
		*size += fabs((double) x * y);
	}
	for (int width = 8; width > 0; width /= 2)
		for (int j = 0; j < width; j++)
			lane[j] += lane[j + width];
	return lane[0];
}

typedef struct product
{
	glm_matmul op;
	glm_dtype  dtype;
	float	  *a;
	uint8_t	  *w; /* one byte before op.w */
	float	  *bias;
	float	  *c;
	size_t	   c_length;
} product;

static product
product_make(int m, int n, int k, glm_dtype dtype)
{
	product p = {.dtype = dtype};

	p.op.m = m;
	p.op.n = n;
	p.op.k = k;
	p.op.lda = (size_t) k + 3;
	p.op.ldc = (size_t) n + 5;
	p.c_length = (size_t) m * p.op.ldc;
	p.a = malloc((size_t) m * p.op.lda * sizeof(float));
	p.w = malloc((size_t) n * (size_t) k * size_of(dtype) + 1);
	p.bias = malloc((size_t) n * sizeof(float));
	p.c = malloc(p.c_length * sizeof(float));
	assert_true(p.a && p.w && p.bias && p.c);
	fill(p.a, (size_t) m * p.op.lda);
	fill_weights(p.w + 1, (size_t) n * (size_t) k, dtype);
	fill(p.bias, (size_t) n);
	p.op.a = p.a;
	p.op.w = p.w + 1;
	p.op.bias = p.bias;
	p.op.c = p.c;
	return p;
}

static void
product_free(product *p)
{
	free(p->a);
	free(p->w);
	free(p->bias);
	free(p->c);
}

/* C of a table, everything outside [0, m) x [n0, n1) set to 7. */
static float *
compute(const product *p, const glm_kernels *table, int n0, int n1)
{
	float	  *c = malloc(p->c_length * sizeof(float));
	glm_matmul op = p->op;

	assert_non_null(c);
	for (size_t i = 0; i < p->c_length; i++)
		c[i] = 7;
	op.c = c;
	table->matmul[p->dtype](&op, n0, n1);
	return c;
}

static const glm_dtype dtypes[] = {GLM_F32, GLM_F16, GLM_BF16};

static void
test_scalar_matmul_is_as_defined(void **state)
{
	static const int depths[] = {1, 15, 16, 17, 100, 1000};

	(void) state;
	for (int t = 0; t < 3; t++)
		for (size_t d = 0; d < sizeof(depths) / sizeof(depths[0]); d++)
		{
			product p = product_make(3, 5, depths[d], dtypes[t]);
			float  *c = compute(&p, &glm_kernels_scalar, 0, 5);

			for (int i = 0; i < 3; i++)
				for (int j = 0; j < 5; j++)
				{
					size_t row = (size_t) j * (size_t) depths[d] * size_of(dtypes[t]);
					double exact, size;
					float  want = defined_dot(p.op.a + (size_t) i * p.op.lda, p.w + 1 + row,
											  depths[d], dtypes[t], &exact, &size) +
								 p.bias[j];

					assert_memory_equal(&c[(size_t) i * p.op.ldc + j], &want, sizeof(want));
					assert_true(fabs(want - p.bias[j] - exact) <= size * 1e-6 + 1e-7);
				}
			free(c);
			product_free(&p);
		}
}

static void
check_tables_agree(int m, int n, int k, glm_dtype dtype)
{
	product p = product_make(m, n, k, dtype);
	int		n0 = n > 8 ? 3 : 0;
	float  *want;

	if (k % 2 == 0)
		p.op.bias = NULL;
	want = compute(&p, &glm_kernels_scalar, n0, n);
	for (int i = 0; i < n_tables; i++)
	{
		float *got = compute(&p, tables[i], n0, n);

		assert_memory_equal(got, want, p.c_length * sizeof(float));
		free(got);
	}
	free(want);
	product_free(&p);
}

static void
test_matmul_tables_agree(void **state)
{
	static const int depths[] = {1, 7, 8, 16, 31, 64, 100, 224};
	static const int widths[] = {1, 2, 3, 4, 7, 8, 9, 16, 21, 67};

	(void) state;
	for (int t = 0; t < 3; t++)
		for (int m = 1; m <= 8; m++)
			for (size_t n = 0; n < sizeof(widths) / sizeof(widths[0]); n++)
				for (size_t k = 0; k < sizeof(depths) / sizeof(depths[0]); k++)
					check_tables_agree(m, widths[n], depths[k], dtypes[t]);
	/* all heights of tiles beside whole ones, narrow and wide panels, several blocks of rows */
	for (int t = 0; t < 3; t++)
	{
		for (int m = 9; m <= 35; m++)
			check_tables_agree(m, 21, 40, dtypes[t]);
		check_tables_agree(193, 6, 33, dtypes[t]);
		/* several chunks of k, the last one whole, and not */
		for (int m = 1; m <= 41; m += 5)
		{
			check_tables_agree(m, 19, 768, dtypes[t]);
			check_tables_agree(m, 19, 901, dtypes[t]);
		}
		check_tables_agree(7, 5, 40000, dtypes[t]);
	}
}

/* Row i of a product is what it would be alone, whatever the range. */
static void
check_rows_alone(const glm_kernels *table, glm_dtype dtype)
{
	product p = product_make(11, 70, 45, dtype);
	float  *all = compute(&p, table, 0, 70);

	for (int i = 0; i < 11; i++)
		for (int n0 = 0; n0 < 70; n0 += 8)
		{
			product one = p;
			int		n1 = n0 + 8 < 70 ? n0 + 8 : 70;
			float  *row;

			one.op.a += (size_t) i * p.op.lda;
			one.op.m = 1;
			row = compute(&one, table, n0, n1);
			assert_memory_equal(row + n0, all + (size_t) i * p.op.ldc + n0,
								(size_t) (n1 - n0) * sizeof(float));
			free(row);
		}
	free(all);
	product_free(&p);
}

static void
test_matmul_rows_alone(void **state)
{
	(void) state;
	for (int t = 0; t < 3; t++)
	{
		check_rows_alone(&glm_kernels_scalar, dtypes[t]);
		for (int i = 0; i < n_tables; i++)
			check_rows_alone(tables[i], dtypes[t]);
	}
}

/* Same bits, or both NaN. */
static bool
same(float a, float b)
{
	return isnan(a) ? isnan(b) : memcmp(&a, &b, sizeof a) == 0;
}

/* All 65,536 weights of a 16-bit type, each times one. */
static void
test_every_half(void **state)
{
	uint16_t  *w = malloc(65536 * sizeof(uint16_t));
	float	  *c = malloc(65536 * sizeof(float));
	float	   one = 1;
	glm_matmul op = {.a = &one, .w = w, .c = c, .m = 1, .n = 65536, .k = 1, .lda = 1, .ldc = 65536};

	(void) state;
	assert_true(w && c);
	for (int i = 0; i < 65536; i++)
		w[i] = (uint16_t) i;
	for (int t = -1; t < n_tables; t++)
	{
		const glm_kernels *table = t < 0 ? &glm_kernels_scalar : tables[t];

		table->matmul[GLM_F16](&op, 0, 65536);
		for (int i = 0; i < 65536; i++)
			assert_true(same(c[i], glm_f16_to_f32(w[i]) + 0.0f));
		table->matmul[GLM_BF16](&op, 0, 65536);
		for (int i = 0; i < 65536; i++)
			assert_true(same(c[i], glm_bf16_to_f32(w[i]) + 0.0f));
	}
	free(w);
	free(c);
}

/* Infinities and products that underflow to -0. */
static void
test_matmul_extremes(void **state)
{
	static const float values[] = {0.0f, -0.0f, 1e-30f, -1e-30f, 1e30f, -1e30f, INFINITY, 1.0f};
	float			   a[17], w[17];

	(void) state;
	for (int trial = 0; trial < 2000; trial++)
	{
		int		   k = 1 + trial % 17;
		float	   want;
		glm_matmul op = {.a = a, .w = w, .c = &want, .m = 1, .n = 1, .k = k, .lda = 17, .ldc = 1};

		for (int i = 0; i < k; i++)
		{
			/* half of the trials without what makes the sum a NaN at once */
			a[i] = values[random_bits() % (trial % 2 ? 4 : 8)];
			w[i] = values[random_bits() % (trial % 2 ? 4 : 8)];
		}
		glm_kernels_scalar.matmul[GLM_F32](&op, 0, 1);
		for (int t = 0; t < n_tables; t++)
		{
			float got;

			op.c = &got;
			tables[t]->matmul[GLM_F32](&op, 0, 1);
			assert_true(same(got, want));
		}
	}
}

/* ---- Exponential, softmax ------------------------------------------------ */

/* exp(x) of a table, for x <= 0 */
static float
table_exp(const glm_kernels *table, float x)
{
	float max = 0;

	table->softmax(&x, 1, &max);
	return x;
}

static void
test_exponential(void **state)
{
	double worst = 0;

	(void) state;
	for (int i = 0; i < 200000; i++)
	{
		float  x = -87.0f * (float) i / 200000;
		double want = exp((double) x);
		float  got = table_exp(&glm_kernels_scalar, x);
		double ulp = ldexp(1, ilogb(want) - 23);

		worst = fmax(worst, fabs(got - want) / ulp);
		for (int t = 0; t < n_tables; t++)
		{
			float other = table_exp(tables[t], x);

			assert_memory_equal(&other, &got, sizeof(got));
		}
	}
	printf("# exp: at most %.3f units in the last place off\n", worst);
	assert_true(worst < 1);
	assert_true(table_exp(&glm_kernels_scalar, 0) == 1);
	assert_true(table_exp(&glm_kernels_scalar, -1e30f) < 1.7e-38f);
}

static void
test_softmax(void **state)
{
	float x[300], want[300], got[300];

	(void) state;
	for (int n = 1; n <= 300; n++)
	{
		double exact = 0, max = -1e9;
		float  sum, before, want_max, got_max;

		fill(x, (size_t) n);
		for (int i = 0; i < n; i++)
		{
			x[i] *= 40;
			max = fmax(max, x[i]);
		}
		memcpy(want, x, sizeof(want));
		want_max = n % 2 ? -INFINITY : (float) max + 1; /* of the scores before */
		max = fmax(max, want_max);
		before = want_max;
		sum = glm_kernels_scalar.softmax(want, n, &want_max);
		assert_true(want_max == max);
		for (int i = 0; i < n; i++)
		{
			exact += exp(x[i] - max);
			assert_true(fabs(want[i] - exp(x[i] - max)) < 4e-6);
		}
		assert_true(fabs(sum - exact) < exact * 4e-6);
		for (int t = 0; t < n_tables; t++)
		{
			float other;

			memcpy(got, x, sizeof(got));
			got_max = before;
			other = tables[t]->softmax(got, n, &got_max);
			assert_true(got_max == want_max);
			assert_memory_equal(&other, &sum, sizeof(sum));
			assert_memory_equal(got, want, (size_t) n * sizeof(float));
		}
	}
}

/* A NaN or an infinity among the scores must not pass for a number. */
static void
test_softmax_not_finite(void **state)
{
	static const float bad[] = {NAN, INFINITY};

	(void) state;
	for (int t = -1; t < n_tables; t++)
		for (int b = 0; b < 2; b++)
			for (int at = 0; at < 37; at++)
			{
				float x[37], max = -INFINITY;

				fill(x, 37);
				x[at] = bad[b];
				assert_true(isnan((t < 0 ? &glm_kernels_scalar : tables[t])->softmax(x, 37, &max)));
			}
}

/* ---- Weighted sums, elementwise, SwiGLU ------------------------------------------------ */

/* What V[i, d] stands for; codes are checked with the scales in the order kernels.h says. */
static float
value_at(const glm_weighted_sum *op, int i, int d)
{
	int		groups = (op->width + 31) / 32;
	uint8_t code = ((const uint8_t *) op->v)[i * op->width + d];

	if (op->dtype != GLM_I8)
		return weight(op->v, (size_t) (i * op->width + d), op->dtype);
	return (float) (code < 128 ? code : code - 256) *
		   (op->down ? op->scale[i / 32 * op->width + d] : op->scale[i * groups + d / 32]);
}

/* Weighs m rows of n weights with rows of V of this width; y begins at what is in it, or at 0. */
static void
check_weighted_sum(int m, int n, int width, glm_dtype dtype, bool down, bool add)
{
	size_t ldy = (size_t) width + 3, ldp = (size_t) n + 1, y_length = (size_t) m * ldy;
	float *p = malloc((size_t) m * ldp * sizeof(float)), *start = malloc(y_length * sizeof(float)),
		  *want = malloc(y_length * sizeof(float)), *got = malloc(y_length * sizeof(float));
	size_t			 scales = ((size_t) n + 31) * ((size_t) width + 31) / 32 + 32;
	float			*scale = malloc(scales * sizeof(float));
	uint8_t			*v = malloc((size_t) n * (size_t) width * size_of(dtype));
	glm_weighted_sum op = {.y = got,
						   .ldy = ldy,
						   .p = p,
						   .ldp = ldp,
						   .v = v,
						   .dtype = dtype,
						   .scale = scale,
						   .down = down,
						   .next = n % 2 ? v : NULL,
						   .m = m,
						   .n = n,
						   .width = width,
						   .add = add};

	assert_true(p && start && want && got && scale && v);
	fill(scale, scales);
	fill(p, (size_t) m * ldp);
	fill(start, y_length);
	fill_weights(v, (size_t) n * (size_t) width, dtype);
	memcpy(want, start, y_length * sizeof(float));
	for (int r = 0; r < m; r++)
		for (int d = 0; d < width; d++)
		{
			float *y = &want[(size_t) r * ldy + (size_t) d];

			*y = add ? *y : 0;
			for (int i = 0; i < n; i++)
				*y = fmaf(p[(size_t) r * ldp + (size_t) i], value_at(&op, i, d), *y);
		}
	for (int t = -1; t < n_tables; t++)
	{
		memcpy(got, start, y_length * sizeof(float));
		(t < 0 ? &glm_kernels_scalar : tables[t])->weighted_sum(&op);
		assert_memory_equal(got, want, y_length * sizeof(float));
	}
	free(p);
	free(start);
	free(want);
	free(got);
	free(scale);
	free(v);
}

static void
test_weighted_sum(void **state)
{
	static const int widths[] = {1, 4, 12, 16, 20, 32, 64, 100, 128, 200};

	(void) state;
	for (size_t w = 0; w < sizeof(widths) / sizeof(widths[0]); w++)
		for (int m = 1; m <= 17; m++)
			for (int n = 1; n <= 32; n += m < 5 ? 1 : 9)
			{
				check_weighted_sum(m, n, widths[w], (m + n) % 2 ? GLM_F32 : GLM_F16, false,
								   n % 3 == 0);
				check_weighted_sum(m, n, widths[w], GLM_I8, (m + n) % 2, n % 3 == 0);
			}
	/* keys: several groups down a head, the last one not whole; and a last group of a row */
	for (int m = 1; m <= 17; m += 4)
		for (int n = 16; n <= 200; n += 23)
		{
			check_weighted_sum(m, n, 32, GLM_I8, true, false);
			check_weighted_sum(m, 32, n, GLM_I8, false, true);
		}
}

/* kernels.h's definition of a sum of squares, with the double result beside it. */
static float
defined_square_sum(const float *x, int n, double *exact)
{
	float lane[64] = {0};

	*exact = 0;
	for (int i = 0; i < (n + 63) / 64 * 64; i++)
	{
		float value = i < n ? x[i] : 0;

		lane[i % 64] = fmaf(value, value, lane[i % 64]);
		*exact += (double) value * value;
	}
	for (int width = 32; width > 0; width /= 2)
		for (int j = 0; j < width; j++)
			lane[j] += lane[j + width];
	return lane[0];
}

static void
test_square_sum(void **state)
{
	float x[4100];

	(void) state;
	fill(x, 4100);
	for (int n = 1; n <= 4100; n += n < 300 ? 1 : 95)
	{
		double exact;
		float  want = defined_square_sum(x, n, &exact);

		assert_true(fabs(want - exact) <= exact * 1e-6);
		for (int t = -1; t < n_tables; t++)
		{
			float got = (t < 0 ? &glm_kernels_scalar : tables[t])->square_sum(x, n);

			assert_memory_equal(&got, &want, sizeof(got));
		}
	}
}

/* The operations without sums, against the same in scalar C. */
static void
test_elementwise(void **state)
{
	float x[203], y[203], z[203], want[203], got[203];

	(void) state;
	fill(x, 203);
	fill(y, 203);
	fill(z, 203);
	for (int n = 4; n <= 203; n++)
		for (int t = 0; t < n_tables; t++)
		{
			glm_kernels_scalar.scale(want, x, y[0], z, n);
			tables[t]->scale(got, x, y[0], z, n);
			assert_memory_equal(got, want, (size_t) n * sizeof(float));
			glm_kernels_scalar.add(want, y, (size_t) n);
			tables[t]->add(got, y, (size_t) n);
			assert_memory_equal(got, want, (size_t) n * sizeof(float));
			for (int i = 0; i < n; i++)
				want[i] = fmaf(x[i], z[1], want[i] * y[2]);
			glm_kernels_scalar.join(got, y[2], x, z[1], n);
			assert_memory_equal(got, want, (size_t) n * sizeof(float));
			glm_kernels_scalar.join(want, z[2], y, y[3], n);
			tables[t]->join(got, z[2], y, y[3], n);
			assert_memory_equal(got, want, (size_t) n * sizeof(float));
			glm_kernels_scalar.divide(want, y[1], n);
			tables[t]->divide(got, y[1], n);
			assert_memory_equal(got, want, (size_t) n * sizeof(float));
			for (int turned = 0; turned <= n; turned += n < 8 ? 2 : n / 8 * 2)
			{
				glm_kernels_scalar.rotate(want, x, y, z[0], turned, n);
				tables[t]->rotate(got, x, y, z[0], turned, n);
				assert_memory_equal(got, want, (size_t) n * sizeof(float));
			}
		}
}

static void
test_swiglu(void **state)
{
	float gate[100], up[100], want[100], got[100];

	(void) state;
	for (int n = 1; n <= 100; n++)
	{
		fill(gate, 100);
		fill(up, 100);
		for (int i = 0; i < n; i++)
			gate[i] *= n % 3 == 0 ? 200 : 8;
		gate[0] = n % 2 ? -0.0f : 0.0f;
		memcpy(want, gate, sizeof(want));
		glm_kernels_scalar.swiglu(want, up, n);
		for (int i = 0; i < n; i++)
		{
			double exact = gate[i] / (1 + exp(-(double) gate[i])) * up[i];

			assert_true(fabs(want[i] - exact) <= fabs(exact) * 1e-6 + 1e-30);
		}
		for (int t = 0; t < n_tables; t++)
		{
			memcpy(got, gate, sizeof(got));
			tables[t]->swiglu(got, up, n);
			assert_memory_equal(got, want, sizeof(want));
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_find),
		cmocka_unit_test(test_scalar_matmul_is_as_defined),
		cmocka_unit_test(test_matmul_tables_agree),
		cmocka_unit_test(test_matmul_rows_alone),
		cmocka_unit_test(test_every_half),
		cmocka_unit_test(test_matmul_extremes),
		cmocka_unit_test(test_exponential),
		cmocka_unit_test(test_softmax),
		cmocka_unit_test(test_softmax_not_finite),
		cmocka_unit_test(test_weighted_sum),
		cmocka_unit_test(test_square_sum),
		cmocka_unit_test(test_elementwise),
		cmocka_unit_test(test_swiglu),
	};

	find_tables();
	return cmocka_run_group_tests_name("kernels", tests, NULL, NULL);
}
