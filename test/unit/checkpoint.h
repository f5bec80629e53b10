/*
 * checkpoint.h - small model directories for tests, right or broken at will.
 *
 * A test describes tensors in a ck_weights, changes what it wants to be wrong,
 * and saves them; the values are a function of name and index, so that a
 * reader's result can be checked without a second copy.  Failures to write
 * fail the test that runs.
 */
#ifndef CHECKPOINT_H
#define CHECKPOINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/json.h"

#define CK_PATH 256

typedef struct ck_tensor
{
	char		name[96];
	const char *dtype;	/* F32, F16 or BF16 */
	int			n_dims; /* 1 or 2 */
	int64_t		shape[2];
	bool		poisoned; /* its last element is NaN */
} ck_tensor;

typedef struct ck_weights
{
	ck_tensor tensor[64];
	int		  n;
} ck_weights;

/* A new directory; its removal with the files and empty directories in it. */
extern void ck_open(char dir[CK_PATH]);
extern void ck_close(const char *dir);
/* How many things are in a directory. */
extern int	ck_count(const char *dir);

extern void ck_path(char path[CK_PATH], const char *dir, const char *name);
extern void ck_write(const char *dir, const char *name, const void *bytes, size_t n);
extern void ck_puts(const char *dir, const char *name, const char *text);

/* A safetensors file of this JSON header and data_size bytes 0, 1, 2, ... */
extern void ck_raw(const char *dir, const char *name, const char *header, size_t data_size);

/* The config.json of a small model, to be changed and saved. */
extern json_t *ck_config(void);
extern void	   ck_config_set(json_t *config, const char *key, const char *json);
extern void	   ck_config_save(const json_t *config, const char *dir);

/* All tensors such a config calls for, in one dtype. */
extern void		  ck_weights_init(ck_weights *w, const json_t *config, const char *dtype);
extern ck_tensor *ck_weights_add(ck_weights *w, const char *name, const char *dtype, int64_t rows,
								 int64_t cols);
extern ck_tensor *ck_weights_get(ck_weights *w, const char *name);
extern void		  ck_weights_drop(ck_weights *w, const char *name);
/* Writes tensors [first, end) as one safetensors file. */
extern void		  ck_weights_save(const ck_weights *w, int first, int end, const char *dir,
								  const char *name);

/* Element i of a tensor: a multiple of 1/64 in [-1/2, 1/2), exact in all dtypes. */
extern float ck_value(const char *name, int64_t i);

/* Fails the test unless *err has this status and its message this fragment. */
extern void ck_assert_error(const glm_error *err, glm_status status, const char *fragment);

/* $GLM_GOLDEN or ../shared/golden; NULL when there is no such directory. */
extern const char *ck_golden(void);

#endif /* CHECKPOINT_H */
