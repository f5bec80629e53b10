/*
 * blas.h - the four BLAS functions and the one of LAPACK that gptq needs.
 *
 * OpenBLAS is loaded when somebody quantizes with calibration, by the process
 * that does it: what is preloaded into PostgreSQL must not start threads.
 */
#ifndef GLM_BLAS_H
#define GLM_BLAS_H

#include "engine/base/base.h"

/* CBLAS's numbers. */
enum
{
	GLM_BLAS_ROW_MAJOR = 101,
	GLM_BLAS_NO_TRANS = 111,
	GLM_BLAS_TRANS = 112,
	GLM_BLAS_UPPER = 121,
	GLM_BLAS_LOWER = 122,
	GLM_BLAS_NON_UNIT = 131,
	GLM_BLAS_RIGHT = 142
};

typedef struct glm_blas
{
	/* C [m, n] = alpha op(A) op(B) + beta C, the inner dimension is k */
	void (*sgemm)(int order, int trans_a, int trans_b, int m, int n, int k, float alpha,
				  const float *a, int lda, const float *b, int ldb, float beta, float *c, int ldc);
	/* C [m, n] = alpha B A + beta C (right); A is symmetric, one triangle of it read */
	void (*ssymm)(int order, int side, int uplo, int m, int n, float alpha, const float *a, int lda,
				  const float *b, int ldb, float beta, float *c, int ldc);
	/* one triangle of C [n, n] = alpha A A^T + beta C; A [n, k] */
	void (*ssyrk)(int order, int uplo, int trans, int n, int k, float alpha, const float *a,
				  int lda, float beta, float *c, int ldc);
	/* B [m, n] = alpha B op(A)^-1 (right); A is triangular */
	void (*strsm)(int order, int side, int uplo, int trans, int diag, int m, int n, float alpha,
				  const float *a, int lda, float *b, int ldb);
	/* Cholesky factor in place, column-major; *info > 0: not positive definite */
	void (*spotrf)(const char *uplo, const int *n, float *a, const int *lda, int *info);
} glm_blas;

/*
 * Finds them in libopenblas.so.0 (liblapack.so.3 when it has no LAPACK in it).
 * All compute on the calling thread alone and may be called by several at once.
 * GLM_UNSUPPORTED with a hint when the libraries are missing.  There is no
 * close: the libraries stay, as their threads could outlive them.
 */
extern bool glm_blas_open(glm_blas *blas, glm_error *err);

#endif /* GLM_BLAS_H */
