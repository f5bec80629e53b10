/*
 * check_fast.c - products by tensor instructions, which have bits of their own: near those in
 * double precision, and the same whatever kernel computes them, in whatever order, with however
 * many rows beside.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "check_matrix.h"

#define F16_TOLERANCE 1e-3
#define BF16_TOLERANCE 1e-2

static void
expect(bool fine, const char *what)
{
	ck_count.shapes++;
	if (!fine && ck_count.different++ < 20)
		printf("# %s\n", what);
}

/* A product: what is told to kernels, and the weights in full. */
typedef struct fast_case
{
	glm_tensor	 w;
	const float *a;
	int			 m, n, k;
	size_t		 lda;
	fast_args	 args;	/* of all rows, into memory that no result has */
	size_t		 bytes; /* of c */
	char		 what[96];
} fast_case;

/* Rows of all magnitudes, which have nothing to do with each other. */
static float *
make_rows(int m, int k, size_t lda)
{
	float *a = ck_take((size_t) m * lda * 4);

	ck_fill(a, (size_t) m * lda);
	for (int i = 0; i < m; i++)
	{
		float by = ck_draw(0, 2) == 0 ? ldexpf(1, ck_draw(-100, 60)) : 1;

		for (int j = 0; j < k; j++)
			a[(size_t) i * lda + (size_t) j] *= by;
	}
	return a;
}

static void
narrow_there(fast_case *c)
{
	int		  ld = (c->k + 31) / 32 * 32;
	uint16_t *x = ck_take((size_t) c->m * (size_t) ld * 2);
	float	 *scale = ck_take((size_t) c->m * 4);

	cuda_narrow(&ck_launcher,
				&(narrow_args){.to = x,
							   .scale = scale,
							   .a = c->a,
							   .lda = c->lda,
							   .cols = c->k,
							   .ld = ld,
							   .dtype = (int) c->w.dtype},
				c->m);
	c->args.x = x;
	c->args.scale = scale;
	c->args.ld = ld;
}

static fast_case
make_case(int m, int n, int k)
{
	fast_case c = {.m = m, .n = n, .k = k, .lda = (size_t) (k + ck_draw(0, 9))};

	c.w = ck_matrix(ck_draw(0, 1) ? GLM_F16 : GLM_BF16, n, k);
	ck_constant((void *) (uintptr_t) c.w.data);
	c.a = make_rows(m, k, c.lda);
	c.args =
		(fast_args){.ldc = (uint64_t) (n + ck_draw(0, 20)), .w = c.w.data, .m = m, .n = n, .k = k};
	c.bytes = (size_t) m * (size_t) c.args.ldc * 4;
	c.args.c = ck_take(c.bytes);
	narrow_there(&c);
	snprintf(c.what, sizeof(c.what), "fast %s: m %d, n %d, k %d", glm_dtypes[c.w.dtype].name, m, n,
			 k);
	return c;
}

/* ---- Rounded activations -------------------------------------------------------------- */

static float
widened(uint16_t half, glm_dtype dtype)
{
	float x;

	glm_widen(&x, &half, dtype, 1);
	return x;
}

/* In F16, what is 2^28 times smaller than the largest has all its bits. */
static void
check_narrow(const fast_case *c)
{
	bool f16 = c->w.dtype == GLM_F16, fine = true;

	for (int i = 0; i < c->m; i++)
	{
		const uint16_t *to = c->args.x + (size_t) i * (size_t) c->args.ld;
		float			scale = c->args.scale[i], largest = 0;
		int				exponent;

		for (int j = 0; j < c->k; j++)
			largest = fmaxf(largest, fabsf(c->a[(size_t) i * c->lda + (size_t) j]));
		fine &= frexpf(scale, &exponent) == 0.5f && (f16 || scale == 1);
		for (int j = 0; j < c->args.ld; j++)
		{
			double x = j < c->k ? c->a[(size_t) i * c->lda + (size_t) j] : 0;
			double off = fabs((double) widened(to[j], c->w.dtype) * scale - x);

			fine &= off <= fabs(x) * (f16 ? 0x1p-11 : 0x1p-8) || off <= largest * 0x1p-38;
		}
	}
	expect(fine, "activations are not what was rounded");
}

static void
check_rounding(void)
{
	static const uint32_t from[8] = {0x3f808000, 0x3f818000, 0x3f808001, 0xbf817fff,
									 0x7fffffff, 0xff800000, 0x80000000, 0x3f7fffff};
	static const uint16_t wanted[8] = {0x3f80, 0x3f82, 0x3f81, 0xbf81,
									   0x7fc0, 0xff80, 0x8000, 0x3f80};
	float				 *a = ck_take(sizeof(from)), *scale = ck_take(4);
	uint16_t			 *to = ck_take(64);
	narrow_args			  args = {
				  .to = to, .scale = scale, .a = a, .lda = 8, .cols = 8, .ld = 32, .dtype = GLM_BF16};

	memcpy(a, from, sizeof(from));
	cuda_narrow(&ck_launcher, &args, 1);
	expect(isnan(widened(to[4], GLM_BF16)), "narrow: a NaN in BF16"); /* any will do */
	to[4] = wanted[4];
	ck_same("narrow: BF16", to, wanted, sizeof(wanted));
	/* what is no number leaves the others as they are */
	args.dtype = GLM_F16;
	cuda_narrow(&ck_launcher, &args, 1);
	expect(isnan(widened(to[4], GLM_F16)) && isinf(widened(to[5], GLM_F16)) && to[7] == 0x3c00 &&
			   scale[0] == 1,
		   "narrow: F16 with what is no number");
}

/* ---- Products --------------------------------------------------------------------------- */

/* Rows [first, first + m) by a kind of kernel, or by that which is chosen for so many. */
static void
multiply(const fast_case *c, cuda_kernel kind, int first, int m)
{
	fast_args a = c->args;

	a.c += (size_t) first * a.ldc;
	a.x += (size_t) first * (size_t) a.ld;
	a.scale += first;
	a.m = m;
	cuda_fast_by(&ck_launcher, kind == GLM_CUDA_N_KERNELS ? cuda_fast_kind(&a) : kind, &a,
				 (int) c->w.dtype);
}

/*
 * How far a row is from its product in double precision, and how long that is; of few numbers, of
 * which some may take each other off, how long it would be if none did.
 */
static double
distance(const fast_case *c, int row, double *length)
{
	const float *a = c->a + (size_t) row * c->lda, *out = c->args.c + (size_t) row * c->args.ldc;
	double		 off = 0, all = 0;

	for (int j = 0; j < c->n; j++)
	{
		const uint16_t *w = (const uint16_t *) c->w.data + (size_t) j * (size_t) c->k;
		double			sum = 0, squares = 0;

		for (int k = 0; k < c->k; k++)
		{
			double product = (double) a[k] * widened(w[k], c->w.dtype);

			sum += product;
			squares += product * product;
		}
		off += (out[j] - sum) * (out[j] - sum);
		all += c->n < 16 || c->k < 64 ? squares : sum * sum;
	}
	*length = sqrt(all);
	return sqrt(off);
}

static void
check_near(const fast_case *c)
{
	double tolerance = c->w.dtype == GLM_F16 ? F16_TOLERANCE : BF16_TOLERANCE;

	for (int i = 0; i < c->m; i++)
	{
		double length, off = distance(c, i, &length);

		expect(off <= tolerance * length, c->what);
	}
}

/* The same bits by all kernels, and whatever rows are beside. */
static void
check_alike(const fast_case *c)
{
	static const cuda_kernel kinds[] = {GLM_CUDA_few_f16, GLM_CUDA_some_f16, GLM_CUDA_many_f16};
	char					*first = ck_take(c->bytes);

	memcpy(first, c->args.c, c->bytes);
	for (size_t i = 0; i < 3; i++)
	{
		memset(c->args.c, 0xfb, c->bytes);
		multiply(c, kinds[i], 0, c->m);
		ck_same(c->what, c->args.c, first, c->bytes);
	}
	memset(c->args.c, 0xfb, c->bytes);
	for (int at = 0, m; at < c->m; at += m)
	{
		static const int sizes[] = {1, 2, 7, 8, 9, 64, 65};

		m = sizes[ck_draw(0, 6)];
		m = m < c->m - at ? m : c->m - at;
		multiply(c, GLM_CUDA_N_KERNELS, at, m);
	}
	ck_same(c->what, c->args.c, first, c->bytes);
}

/* Bias, and what is there, are added as everywhere. */
static void
check_added(fast_case *c)
{
	float *bias = ck_take((size_t) c->n * 4), *wanted = ck_take(c->bytes);
	bool   add = ck_draw(0, 1);

	ck_fill(bias, (size_t) c->n);
	memcpy(wanted, c->args.c, c->bytes);
	for (int i = 0; i < c->m; i++)
		for (int j = 0; j < c->n; j++)
		{
			size_t at = (size_t) i * c->args.ldc + (size_t) j;
			float  sum = c->args.c[at] + bias[j];

			wanted[at] = add ? c->args.c[at] + sum : sum;
		}
	c->args.bias = bias;
	c->args.add = add;
	multiply(c, GLM_CUDA_N_KERNELS, 0, c->m);
	ck_same(c->what, c->args.c, wanted, c->bytes);
}

static void
check_fast(int m, int n, int k)
{
	fast_case c = make_case(m, n, k);

	memset(c.args.c, 0xfb, c.bytes);
	multiply(&c, GLM_CUDA_N_KERNELS, 0, m);
	check_narrow(&c);
	check_near(&c);
	check_alike(&c);
	check_added(&c);
	ck_free_all();
}

/* A row that is no number, beside one that is. */
static void
check_broken(void)
{
	fast_case c = make_case(2, 20, 300);
	bool	  broken = true, whole = true;

	((float *) (uintptr_t) c.a)[ck_draw(0, 299)] = ck_draw(0, 1) ? INFINITY : NAN;
	narrow_there(&c);
	multiply(&c, GLM_CUDA_N_KERNELS, 0, 2);
	for (int j = 0; j < 20; j++)
	{
		broken &= !isfinite(c.args.c[j]);
		whole &= isfinite(c.args.c[c.args.ldc + (size_t) j]) != 0;
	}
	expect(broken && whole, "a row that is no number");
	ck_free_all();
}

/* The same shape in each order: the bits of the first are those of all. */
static void
check_orders(void)
{
	static char	 *first;
	static size_t bytes;
	fast_case	  c;

	ck_seed(1000);
	c = make_case(20, 40, 700);
	multiply(&c, GLM_CUDA_N_KERNELS, 0, c.m);
	if (first == NULL)
	{
		bytes = c.bytes;
		first = malloc(bytes);
		if (first == NULL)
			abort();
		memcpy(first, c.args.c, bytes);
	}
	ck_same("fast: an order", c.args.c, first, bytes);
	ck_free_all();
}

/* Rows around where the next kernel begins, or the next block; columns around strips and steps. */
void
ck_fast(int times)
{
	static const int rows[] = {1, 2, 7, 8, 9, 64, 65, 300};

	check_rounding();
	ck_free_all();
	check_broken();
	for (int i = 0; i < times; i++)
	{
		int kind = i % 5, k = kind == 0	  ? 8 * ck_draw(1, 40)
							  : kind == 1 ? ck_draw(2100, 2400)
										  : ck_draw(1, 600);

		check_fast(i < 8 ? rows[i] : ck_draw(1, 40), ck_draw(1, kind == 1 ? 40 : 140), k);
	}
	check_orders();
}
