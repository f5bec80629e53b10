/*
 * shards.c - all weight files of a model directory, one name space of tensors.
 *
 * Which files: those model.safetensors.index.json names, else
 * model.safetensors, else the only *.safetensors there is.  Where both are there
 * and the index names other files, one of them is left over from another model;
 * programs differ in which they take, so neither is.  The index is a
 * promise that is checked, not a table that is used: tensors are found by the
 * headers of the files (safetensors.c), and each must be where the index says.
 * File names in an index are plain names, so that no index leads out of its
 * directory.
 *
 * A directory with a manifest (manifest.c) is a packed one: its files are those
 * the manifest lists, and the chunks of its weights are verified as the options
 * say.  Packed weights without a manifest are refused, since nobody could tell
 * whether they are whole.
 *
 * Opened once, then read-only: all functions but open and close are thread-safe.
 */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "engine/base/file.h"
#include "engine/weights/shards.h"

#define INDEX_FILE "model.safetensors.index.json"
#define SINGLE_FILE "model.safetensors"

static bool				open_manifest(glm_shards *s, glm_error *err);
static bool				open_files(glm_shards *s, glm_error *err);
static bool				two_models(const glm_shards *s, glm_error *err);
static const glm_shard *shard_named(const glm_shards *s, const char *name);
static bool				open_index(glm_shards *s, const char *index_path, glm_error *err);
static bool open_indexed(glm_shards *s, json_t *weight_map, const char *index_path, glm_error *err);
static bool check_weight_map(const glm_shards *s, json_t *weight_map, glm_error *err);
static bool open_only_file(glm_shards *s, glm_error *err);
static bool open_shard(glm_shards *s, const char *name, glm_error *err);
static bool check_shard(const glm_shards *s, glm_shard *shard, glm_error *err);
static bool sort_entries(glm_shards *s, glm_error *err);
static const glm_shard_entry *find_entry(const glm_shards *s, const char *name);
static bool wrong_shape(const glm_shard_entry *e, int64_t rows, int64_t cols, glm_error *err);

/* ---- Entry points ------------------------------------------------------ */

glm_shards *
glm_shards_open(const char *dir, const glm_weight_options *options, glm_error *err)
{
	glm_shards *s = calloc(1, sizeof(*s));

	if (s == NULL || (s->dir = strdup(dir)) == NULL)
	{
		free(s);
		glm_no_memory(err);
		return NULL;
	}
	if (options != NULL)
		s->options = *options;
	if (open_manifest(s, err) && open_files(s, err) &&
		(s->options.verify != GLM_VERIFY_FULL || glm_shards_verify(s, err)))
		return s;
	glm_shards_close(s);
	return NULL;
}

void
glm_shards_close(glm_shards *s)
{
	if (s == NULL)
		return;
	for (int i = 0; i < s->n_shards; i++)
		glm_shard_close(&s->shard[i]);
	glm_manifest_free(s->manifest);
	free(s->entry);
	free(s->dir);
	free(s);
}

uint64_t
glm_shards_bytes(const glm_shards *s)
{
	uint64_t bytes = 0;

	for (int i = 0; i < s->n_shards; i++)
		bytes += glm_weight_file_size(s->shard[i].file);
	return bytes;
}

const char *
glm_shards_quantization(const glm_shards *s)
{
	return s->manifest ? glm_dtypes[s->manifest->dtype].packed : "none";
}

const char *
glm_shards_file(const glm_shards *s, const char *name)
{
	const glm_shard_entry *e = find_entry(s, name);

	return e ? e->path : NULL;
}

bool
glm_shards_find(const glm_shards *s, const char *name, int64_t rows, int64_t cols, glm_tensor *out,
				glm_error *err)
{
	const glm_shard_entry *e = find_entry(s, name);
	size_t				   n_dims = cols == 0 ? 1 : 2;

	if (e == NULL)
		return glm_fail(err, GLM_BAD_FILE, "model \"%s\" has no tensor \"%s\"", s->dir, name);
	if (!e->computable)
		return glm_fail(err, GLM_UNSUPPORTED, "tensor \"%s\" in \"%s\" is %s, not F32, F16 or BF16",
						name, e->path, e->type);
	if (e->n_dims != n_dims || e->shape[0] != rows || (cols != 0 && e->shape[1] != cols))
		return wrong_shape(e, rows, cols, err);

	out->data = e->data;
	out->dtype = e->dtype;
	out->n_dims = (int) n_dims;
	out->shape[0] = e->shape[0];
	out->shape[1] = e->shape[1];
	out->group = e->group;
	return true;
}

/* ---- Which files ------------------------------------------------------- */

static bool
open_manifest(glm_shards *s, glm_error *err)
{
	return glm_manifest_read(&s->manifest, s->dir, err) &&
		   (s->manifest == NULL || glm_manifest_check(s->manifest, s->dir, s->options.verify, err));
}

static bool
two_models(const glm_shards *s, glm_error *err)
{
	glm_fail(err, GLM_BAD_FILE,
			 "directory \"%s\" has both " SINGLE_FILE " and " INDEX_FILE
			 ", which names other files",
			 s->dir);
	glm_hint(err, "Remove what is left over from another model.");
	return false;
}

static bool
open_files(glm_shards *s, glm_error *err)
{
	char	   *index_path;
	char	   *single_path;
	struct stat st;
	bool		ok = false;

	if (asprintf(&index_path, "%s/%s", s->dir, INDEX_FILE) < 0)
		return glm_no_memory(err);
	if (asprintf(&single_path, "%s/%s", s->dir, SINGLE_FILE) < 0)
	{
		free(index_path);
		return glm_no_memory(err);
	}

	/* lstat: a name that is there but cannot be opened is an error, not absent */
	if (lstat(index_path, &st) == 0)
		ok = open_index(s, index_path, err) && (shard_named(s, SINGLE_FILE) != NULL ||
												lstat(single_path, &st) != 0 || two_models(s, err));
	else if (lstat(single_path, &st) == 0)
		ok = open_shard(s, SINGLE_FILE, err) && sort_entries(s, err);
	else
		ok = open_only_file(s, err) && sort_entries(s, err);
	free(index_path);
	free(single_path);
	return ok;
}

static bool
open_index(glm_shards *s, const char *index_path, glm_error *err)
{
	json_t *root = glm_json_read(index_path, GLM_SHARD_JSON_MAX, err);
	json_t *weight_map = json_object_get(root, "weight_map");
	bool	ok = false;

	if (root == NULL)
		return false;
	if (json_object_size(weight_map) == 0)
		glm_fail(err, GLM_BAD_FILE, "\"weight_map\" of \"%s\" is not an object that names tensors",
				 index_path);
	else
		ok = open_indexed(s, weight_map, index_path, err) && sort_entries(s, err) &&
			 check_weight_map(s, weight_map, err);
	json_decref(root);
	return ok;
}

static const glm_shard *
shard_named(const glm_shards *s, const char *name)
{
	size_t skip = strlen(s->dir) + 1;

	for (int i = 0; i < s->n_shards; i++)
		if (strcmp(s->shard[i].path + skip, name) == 0)
			return &s->shard[i];
	return NULL;
}

/* Opens each file of a weight_map once. */
static bool
open_indexed(glm_shards *s, json_t *weight_map, const char *index_path, glm_error *err)
{
	const char *tensor;
	json_t	   *file;

	json_object_foreach(weight_map, tensor, file)
	{
		const char *name = json_string_value(file);

		if (name == NULL || !glm_plain_name(name))
			return glm_fail(err, GLM_BAD_FILE,
							"\"weight_map\" of \"%s\" gives no plain file name for \"%.100s\"",
							index_path, tensor);
		if (shard_named(s, name))
			continue;
		if (s->n_shards == GLM_SHARDS_MAX)
			return glm_fail(err, GLM_UNSUPPORTED,
							"\"weight_map\" of \"%s\" names more than %d files", index_path,
							GLM_SHARDS_MAX);
		if (!open_shard(s, name, err))
			return false;
	}
	return true;
}

static bool
check_weight_map(const glm_shards *s, json_t *weight_map, glm_error *err)
{
	const char *tensor;
	json_t	   *file;

	json_object_foreach(weight_map, tensor, file)
	{
		const glm_shard *shard = shard_named(s, json_string_value(file));
		const char		*path = glm_shards_file(s, tensor);

		if (path != shard->path)
			return glm_fail(err, GLM_BAD_FILE,
							"file \"%s\" has no tensor \"%.100s\", but %s says so", shard->path,
							tensor, INDEX_FILE);
	}
	return true;
}

static bool
ends_with(const char *s, const char *end)
{
	size_t n = strlen(s);
	size_t m = strlen(end);

	return n >= m && strcmp(s + n - m, end) == 0;
}

/* Opens the one file named *.safetensors. */
static bool
open_only_file(glm_shards *s, glm_error *err)
{
	DIR			  *dir = opendir(s->dir);
	struct dirent *item;
	int			   n_found = 0;
	bool		   pytorch = false;
	char		   found[sizeof(item->d_name)] = "";
	char		   why[128];

	if (dir == NULL)
		return glm_fail(err, glm_file_status(errno), "cannot open directory \"%s\": %s", s->dir,
						strerror_r(errno, why, sizeof(why)));
	while ((item = readdir(dir)) != NULL)
	{
		if (glm_plain_name(item->d_name) && ends_with(item->d_name, ".safetensors"))
		{
			n_found++;
			strcpy(found, item->d_name);
		}
		if (strncmp(item->d_name, "pytorch_model", 13) == 0 && ends_with(item->d_name, ".bin"))
			pytorch = true;
	}
	closedir(dir);

	if (n_found == 1)
		return open_shard(s, found, err);
	if (n_found > 1)
		return glm_fail(err, GLM_NO_FILE, "directory \"%s\" has %d *.safetensors files, but no %s",
						s->dir, n_found, INDEX_FILE);
	if (!pytorch)
		return glm_fail(err, GLM_NO_FILE, "directory \"%s\" has no *.safetensors file", s->dir);
	glm_fail(err, GLM_UNSUPPORTED, "model \"%s\" has its weights in pytorch_model*.bin files",
			 s->dir);
	glm_advise(err, GLM_ADVICE_CONVERT_PYTORCH);
	return false;
}

static bool
open_shard(glm_shards *s, const char *name, glm_error *err)
{
	char *path;

	if (asprintf(&path, "%s/%s", s->dir, name) < 0)
		return glm_no_memory(err);
	s->n_shards++;
	return glm_shard_open(&s->shard[s->n_shards - 1], s->options.files, path, err) &&
		   check_shard(s, &s->shard[s->n_shards - 1], err);
}

/* Holds a shard against the manifest, and gives it the hashes of its chunks. */
static bool
check_shard(const glm_shards *s, glm_shard *shard, glm_error *err)
{
	uint64_t				 size = glm_weight_file_size(shard->file);
	const glm_manifest_file *listed;

	if (s->manifest == NULL)
		return !shard->packed || glm_fail(err, GLM_BAD_FILE,
										  "file \"%s\" is packed, but there is "
										  "no " GLM_MANIFEST " beside it",
										  shard->path);
	listed = glm_manifest_find(s->manifest, strrchr(shard->path, '/') + 1);
	if (listed == NULL || listed->size != size)
		return glm_fail(err, GLM_BAD_FILE,
						"file \"%s\" with its %" PRIu64 " bytes is not what " GLM_MANIFEST " lists",
						shard->path, size);
	if (s->options.verify != GLM_VERIFY_OFF)
		shard->expected = listed->hash;
	return true;
}

/* ---- Tensors by name --------------------------------------------------- */

static int
compare_name(const void *a, const void *b)
{
	return strcmp((*(const glm_shard_entry *const *) a)->name,
				  (*(const glm_shard_entry *const *) b)->name);
}

static bool
sort_entries(glm_shards *s, glm_error *err)
{
	size_t total = 0;

	for (int i = 0; i < s->n_shards; i++)
		total += s->shard[i].n_entries;
	s->entry = calloc(total + 1, sizeof(*s->entry));
	if (s->entry == NULL)
		return glm_no_memory(err);
	for (int i = 0; i < s->n_shards; i++)
		for (size_t j = 0; j < s->shard[i].n_entries; j++)
			s->entry[s->n_entries++] = &s->shard[i].entry[j];

	qsort(s->entry, total, sizeof(*s->entry), compare_name);
	for (size_t i = 1; i < total; i++)
		if (strcmp(s->entry[i - 1]->name, s->entry[i]->name) == 0)
			return glm_fail(err, GLM_BAD_FILE, "tensor \"%.100s\" is in \"%s\" and in \"%s\"",
							s->entry[i]->name, s->entry[i - 1]->path, s->entry[i]->path);
	return true;
}

static const glm_shard_entry *
find_entry(const glm_shards *s, const char *name)
{
	const glm_shard_entry	wanted = {.name = (char *) name};
	const glm_shard_entry  *key = &wanted;
	const glm_shard_entry **found;

	found = bsearch(&key, s->entry, s->n_entries, sizeof(*s->entry), compare_name);
	return found ? *found : NULL;
}

static void
describe_shape(char *out, size_t size, size_t n_dims, int64_t rows, int64_t cols)
{
	if (n_dims == 0)
		snprintf(out, size, "[]");
	else if (n_dims == 1)
		snprintf(out, size, "[%" PRId64 "]", rows);
	else
		snprintf(out, size, "[%" PRId64 ", %" PRId64 "%s]", rows, cols, n_dims > 2 ? ", ..." : "");
}

static bool
wrong_shape(const glm_shard_entry *e, int64_t rows, int64_t cols, glm_error *err)
{
	char found[64];
	char wanted[64];

	describe_shape(found, sizeof(found), e->n_dims, e->shape[0], e->shape[1]);
	describe_shape(wanted, sizeof(wanted), cols == 0 ? 1 : 2, rows, cols);
	return glm_fail(err, GLM_BAD_FILE,
					"tensor \"%s\" in \"%s\" has shape %s, but config.json makes it %s", e->name,
					e->path, found, wanted);
}
