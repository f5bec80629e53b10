/*
 * model.c - a model directory opened: config, weights and tokenizer together.
 *
 * Matrices are not touched: their bytes come in with the segment they belong to.  What
 * is small and read in every step - norms, biases, the RoPE table - becomes fp32 in memory
 * of the model.  Opening costs what these cost, whatever the size of the weights.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/clock.h"
#include "engine/model/bind.h"
#include "engine/model/kv_layout.h"
#include "engine/model/model_files.h"

#define ROPE_SLICE 1024 /* positions between two pauses */

static void note_identity(glm_model *model);
static void confirm_identity(glm_model *model);
static bool make_rope(glm_model *model, glm_error *err);

/* ---- Entry points ------------------------------------------------------ */

glm_model *
glm_model_open(const char *name, const char *path, glm_error *err)
{
	return glm_model_open_with(name, path, NULL, err);
}

glm_model *
glm_model_open_with(const char *name, const char *path, const glm_open_options *options,
					glm_error *err)
{
	int64_t	   start = glm_now_ns();
	int		   n;
	glm_model *model = calloc(1, sizeof(*model));

	if (model == NULL || (model->name = strdup(name)) == NULL ||
		(model->path = strdup(path)) == NULL)
	{
		glm_no_memory(err);
		goto fail;
	}
	if (options != NULL)
		model->rope_option = options->rope;
	note_identity(model);
	if (!glm_config_read_with(&model->config, path, model->rope_option, err))
		goto fail;
	model->shards = glm_shards_open(path, options != NULL ? &options->weights : NULL, err);
	if (model->shards == NULL || !glm_model_bind(model, err))
		goto fail;
	model->dtype = glm_model_matrices(model, GLM_QKV, 0, &n)->tensor.dtype;
	model->tokenizer = glm_tokenizer_open(path, model->config.vocab, err);
	if (model->tokenizer == NULL || !make_rope(model, err))
		goto fail;
	model->chat = glm_chat_choose(model->tokenizer, err);
	if (model->chat == NULL)
		goto fail;
	confirm_identity(model);
	model->kv_dtype = glm_kv_dtype(options != NULL ? options->kv_type : GLM_KV_AUTO, model->dtype);
	model->kv_block_bytes = glm_kv_block_bytes(&model->config, model->kv_dtype);
	model->load_ms = (double) (glm_now_ns() - start) / 1e6;
	return model;

fail:
	glm_model_close(model);
	return NULL;
}

/* What is wrong with the files is said by whoever reads them. */
static void
note_identity(glm_model *model)
{
	bool packed;

	(void) glm_model_identity(model->path, model->identity, &packed, NULL);
}

/* All that was read meanwhile was read of the same files, or it is not known of which. */
static void
confirm_identity(glm_model *model)
{
	char now[GLM_MODEL_HASH];
	bool packed;

	if (!glm_model_identity(model->path, now, &packed, NULL) ||
		!glm_same_identity(now, model->identity))
		model->identity[0] = '\0';
}

/* Takes NULL and what glm_model_open left half done. */
void
glm_model_close(glm_model *model)
{
	if (model == NULL)
		return;
	for (int i = 0; i < model->n_matrices; i++)
		free(model->matrix[i].bias);
	for (int i = 0; model->norm != NULL && i < (model->config.layers + 1) * GLM_N_NORMS; i++)
		free(model->norm[i]);
	free(model->segment);
	free(model->tensor);
	free(model->matrix);
	free(model->place);
	free(model->norm);
	free(model->rope);
	if (model->tokenizer != NULL)
		glm_tokenizer_close(model->tokenizer);
	glm_shards_close(model->shards);
	free(model->path);
	free(model->name);
	free(model);
}

/* ---- RoPE -------------------------------------------------------------- */

/*
 * rope[p][i] = cos, sin of p / scale * base^(-2i / rotary): the angle by which pair i of a
 * head turns at position p.  In double up to the last rounding: at position 100,000 an
 * fp32 angle would be wrong in the third digit.
 */
static bool
make_rope(glm_model *model, glm_error *err)
{
	int	   pairs = model->config.rotary / 2;
	size_t count = (size_t) model->config.context * (size_t) pairs;
	float *out = malloc(count * 2 * sizeof(float));
	double theta[512]; /* head_dim is at most 1024 */

	if (out == NULL)
		return glm_no_memory(err);
	model->rope = out;
	for (int i = 0; i < pairs; i++)
		theta[i] = pow(model->config.rope_base, -2.0 * i / model->config.rotary) /
				   model->config.rope_scale;
	for (int p = 0; p < model->config.context; p++)
	{
		for (int i = 0; i < pairs; i++)
		{
			double sine;
			double cosine;

			sincos(p * theta[i], &sine, &cosine);
			*out++ = (float) cosine;
			*out++ = (float) sine;
		}
		if (p % ROPE_SLICE == 0 && !glm_pause(err))
			return false;
	}
	return true;
}
