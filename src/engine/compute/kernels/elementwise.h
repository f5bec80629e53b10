/*
 * elementwise.h - operations without sums, in plain C for every table.
 *
 * IEEE arithmetic fixes their results, so the compiler may use whatever vectors
 * the including file is compiled for; it must not fuse multiplications and
 * additions (-ffp-contract=off).
 */
#ifndef GLM_ELEMENTWISE_H
#define GLM_ELEMENTWISE_H

/*
 * GCC 12 makes vfmaddsub of a pair like rotate's whatever -ffp-contract says.  It
 * cannot where it does not know what became of the product.
 */
#if defined(__x86_64__)
#define ROUNDED(x) __asm__("" : "+x"(x))
#elif defined(__aarch64__)
#define ROUNDED(x) __asm__("" : "+w"(x))
#else
#define ROUNDED(x) (void) (x)
#endif

static void
scale(float *restrict y, const float *restrict x, float by, const float *restrict weight, int n)
{
	for (int i = 0; i < n; i++)
		y[i] = x[i] * by * weight[i];
}

static void
add(float *restrict x, const float *restrict y, size_t n)
{
	for (size_t i = 0; i < n; i++)
		x[i] += y[i];
}

static void
join(float *restrict y, float by, const float *restrict x, float x_by, int n)
{
	for (int i = 0; i < n; i++)
		y[i] = __builtin_fmaf(x[i], x_by, y[i] * by);
}

static void
divide(float *x, float by, int n)
{
	for (int i = 0; i < n; i++)
		x[i] /= by;
}

static void
rotate(float *restrict y, const float *restrict x, const float *restrict angle, float by,
	   int turned, int n)
{
	for (int i = 0; i < turned; i += 2)
	{
		float crossed0 = x[i + 1] * angle[i + 1], crossed1 = x[i] * angle[i + 1];

		ROUNDED(crossed0);
		ROUNDED(crossed1);
		y[i] = (x[i] * angle[i] - crossed0) * by;
		y[i + 1] = (x[i + 1] * angle[i] + crossed1) * by;
	}
	for (int i = turned; i < n; i++)
		y[i] = x[i] * by;
}

#endif /* GLM_ELEMENTWISE_H */
