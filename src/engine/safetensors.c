/*
 * safetensors.c - one weight file: its header, believed only after checking.
 *
 * A safetensors file is
 *
 *     uint64 n, little-endian | n bytes of JSON | data to the end of the file
 *
 * where the JSON maps a tensor's name to {"dtype", "shape", "data_offsets":
 * [begin, end)}, offsets counted from the start of data.  The file is mapped,
 * never copied; opening it reads the header only, so that it costs the same
 * for 1 MB and for 12 GB.  An entry that comes out of here lies inside the
 * mapping, shares no byte with another and has the size its shape and dtype
 * call for.  The format knows no alignment: data may be unaligned for its type.
 *
 * A file whose data goes on behind the last tensor, or ends before it, was cut
 * or patched together and is refused whole.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "safetensors.h"

static const glm_shard_dtype dtypes[] = {
	{"F32", 4, true, GLM_F32},
	{"F16", 2, true, GLM_F16},
	{"BF16", 2, true, GLM_BF16},
	{"F64", 8, false, 0},
	{"I64", 8, false, 0},
	{"U64", 8, false, 0},
	{"I32", 4, false, 0},
	{"U32", 4, false, 0},
	{"I16", 2, false, 0},
	{"U16", 2, false, 0},
	{"I8", 1, false, 0},
	{"U8", 1, false, 0},
	{"BOOL", 1, false, 0},
	{"F8_E4M3", 1, false, 0},
	{"F8_E5M2", 1, false, 0},
	{"F8_E8M0", 1, false, 0},
};

#define N_DTYPES (sizeof(dtypes) / sizeof(dtypes[0]))

static json_t *read_header(const glm_shard *shard, uint64_t *data_offset, glm_error *err);
static bool read_entries(glm_shard *shard, json_t *header, uint64_t data_offset, glm_error *err);
static bool read_entry(glm_shard_entry *e, const char *name, json_t *value,
					   uint64_t data_size, glm_error *err);
static bool read_shape(glm_shard_entry *e, json_t *shape, uint64_t *bytes);
static bool read_offsets(glm_shard_entry *e, json_t *offsets, uint64_t data_size);
static bool check_metadata(json_t *metadata, const char *path, glm_error *err);
static bool check_layout(const glm_shard *shard, uint64_t data_size, glm_error *err);

/* ---- Entry points ------------------------------------------------------ */

bool
glm_shard_open(glm_shard *shard, char *path, glm_error *err)
{
	uint64_t	data_offset;
	json_t	   *header;
	bool		ok;

	memset(shard, 0, sizeof(*shard));
	shard->path = path;
	if (!glm_map_open(&shard->map, path, err))
		return false;
	header = read_header(shard, &data_offset, err);
	if (header == NULL)
		return false;
	ok = read_entries(shard, header, data_offset, err) &&
		check_layout(shard, shard->map.size - data_offset, err);
	json_decref(header);
	return ok;
}

void
glm_shard_close(glm_shard *shard)
{
	for (size_t i = 0; i < shard->n_entries; i++)
		free(shard->entry[i].name);
	free(shard->entry);
	free(shard->path);
	glm_map_close(&shard->map);
	memset(shard, 0, sizeof(*shard));
}

/* ---- The header -------------------------------------------------------- */

static uint64_t
read_u64_le(const uint8_t *bytes)
{
	uint64_t	value = 0;

	for (int i = 7; i >= 0; i--)
		value = value << 8 | bytes[i];
	return value;
}

/* The header as JSON; *data_offset is where the data begins. */
static json_t *
read_header(const glm_shard *shard, uint64_t *data_offset, glm_error *err)
{
	const glm_map *map = &shard->map;
	uint64_t	length;

	if (map->size < 8)
	{
		glm_fail(err, GLM_BAD_FILE, "file \"%s\" is too short for a safetensors file", shard->path);
		return NULL;
	}
	length = read_u64_le(map->data);
	if (length > map->size - 8)
	{
		glm_fail(err, GLM_BAD_FILE, "file \"%s\" is truncated or no safetensors file: "
				 "a header of %" PRIu64 " bytes in a file of %zu", shard->path, length, map->size);
		return NULL;
	}
	if (length > GLM_SHARD_JSON_MAX)
	{
		glm_fail(err, GLM_BAD_FILE, "file \"%s\" has a header of %" PRIu64 " bytes, "
				 "more than the %zu allowed", shard->path, length, GLM_SHARD_JSON_MAX);
		return NULL;
	}
	*data_offset = 8 + length;
	return glm_json_object(map->data + 8, (size_t) length, shard->path, err);
}

static bool
read_entries(glm_shard *shard, json_t *header, uint64_t data_offset, glm_error *err)
{
	uint64_t	data_size = shard->map.size - data_offset;
	const char *name;
	json_t	   *value;

	shard->entry = calloc(json_object_size(header) + 1, sizeof(*shard->entry));
	if (shard->entry == NULL)
		return glm_no_memory(err);

	json_object_foreach(header, name, value)
	{
		glm_shard_entry *e = &shard->entry[shard->n_entries];

		if (strcmp(name, "__metadata__") == 0)
		{
			if (!check_metadata(value, shard->path, err))
				return false;
			continue;
		}
		e->path = shard->path;
		if (!read_entry(e, name, value, data_size, err))
			return false;
		e->data = shard->map.data + data_offset + e->begin;
		e->name = strdup(name);
		if (e->name == NULL)
			return glm_no_memory(err);
		shard->n_entries++;
	}
	return true;
}

static bool
check_metadata(json_t *metadata, const char *path, glm_error *err)
{
	const char *key;
	json_t	   *value;

	if (!json_is_object(metadata))
		return glm_fail(err, GLM_BAD_FILE, "\"__metadata__\" in \"%s\" is not an object", path);
	json_object_foreach(metadata, key, value)
	{
		if (!json_is_string(value))
			return glm_fail(err, GLM_BAD_FILE, "\"__metadata__\" in \"%s\": \"%.100s\" is not a string",
							path, key);
	}
	return true;
}

/* ---- One tensor -------------------------------------------------------- */

static bool
read_entry(glm_shard_entry *e, const char *name, json_t *value, uint64_t data_size,
		   glm_error *err)
{
	const char *type = json_string_value(json_object_get(value, "dtype"));
	uint64_t	bytes;

	if (type == NULL)
		return glm_fail(err, GLM_BAD_FILE, "tensor \"%.100s\" in \"%s\" has no dtype", name, e->path);
	for (size_t i = 0; i < N_DTYPES; i++)
		if (strcmp(dtypes[i].name, type) == 0)
			e->type = &dtypes[i];
	if (e->type == NULL)
		return glm_fail(err, GLM_UNSUPPORTED, "tensor \"%.100s\" in \"%s\" has unknown dtype \"%.20s\"",
						name, e->path, type);
	if (!read_shape(e, json_object_get(value, "shape"), &bytes))
		return glm_fail(err, GLM_BAD_FILE, "tensor \"%.100s\" in \"%s\" has no valid shape",
						name, e->path);
	if (!read_offsets(e, json_object_get(value, "data_offsets"), data_size))
		return glm_fail(err, GLM_BAD_FILE, "tensor \"%.100s\" in \"%s\" has no data_offsets "
						"inside the file's %" PRIu64 " bytes of data", name, e->path, data_size);
	if (e->end - e->begin != bytes)
		return glm_fail(err, GLM_BAD_FILE, "tensor \"%.100s\" in \"%s\" has %" PRIu64 " bytes of data, "
						"but its shape and dtype need %" PRIu64, name, e->path,
						e->end - e->begin, bytes);
	return true;
}

/* Fills n_dims and shape; *bytes is the size of all elements. */
static bool
read_shape(glm_shard_entry *e, json_t *shape, uint64_t *bytes)
{
	size_t		i;
	json_t	   *dim;

	if (!json_is_array(shape))
		return false;
	e->n_dims = json_array_size(shape);
	e->shape[0] = e->shape[1] = 1;
	*bytes = e->type->size;
	json_array_foreach(shape, i, dim)
	{
		json_int_t	n = json_integer_value(dim);

		if (!json_is_integer(dim) || n < 0 ||
			__builtin_mul_overflow(*bytes, (uint64_t) n, bytes))
			return false;
		if (i < 2)
			e->shape[i] = n;
	}
	return true;
}

static bool
read_offsets(glm_shard_entry *e, json_t *offsets, uint64_t data_size)
{
	json_t	   *begin = json_array_get(offsets, 0);
	json_t	   *end = json_array_get(offsets, 1);

	if (json_array_size(offsets) != 2 || !json_is_integer(begin) || !json_is_integer(end) ||
		json_integer_value(begin) < 0 || json_integer_value(end) < json_integer_value(begin))
		return false;
	e->begin = (uint64_t) json_integer_value(begin);
	e->end = (uint64_t) json_integer_value(end);
	return e->end <= data_size;
}

/* ---- All tensors of the file ------------------------------------------- */

static int
compare_begin(const void *a, const void *b)
{
	const glm_shard_entry *x = a;
	const glm_shard_entry *y = b;

	if (x->begin != y->begin)
		return x->begin < y->begin ? -1 : 1;
	return (x->end > y->end) - (x->end < y->end);
}

/* Sorts by begin: no two tensors share bytes, and the last one ends the file. */
static bool
check_layout(const glm_shard *shard, uint64_t data_size, glm_error *err)
{
	glm_shard_entry *entry = shard->entry;
	uint64_t	end = 0;

	qsort(entry, shard->n_entries, sizeof(*entry), compare_begin);
	for (size_t i = 0; i < shard->n_entries; i++)
	{
		if (entry[i].begin < end)
			return glm_fail(err, GLM_BAD_FILE, "tensors \"%.100s\" and \"%.100s\" in \"%s\" overlap",
							entry[i - 1].name, entry[i].name, shard->path);
		end = entry[i].end;
	}
	if (end != data_size)
		return glm_fail(err, GLM_BAD_FILE, "file \"%s\" has %" PRIu64 " bytes behind its last tensor",
						shard->path, data_size - end);
	return true;
}
