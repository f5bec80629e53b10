/*
 * safetensors.c - one weight file: its header, believed only after checking.
 *
 * A safetensors file is
 *
 *     uint64 n, little-endian | n bytes of JSON | data to the end of the file
 *
 * where the JSON maps a tensor's name to {"dtype", "shape", "data_offsets":
 * [begin, end)}, offsets counted from the start of data.  Only the header is
 * read, so that opening costs the same for 1 MB and for 12 GB.  An entry that
 * comes out of here lies inside the file, shares no byte with another and has
 * the size its shape and dtype call for.  The format knows no alignment: data
 * may be unaligned for its type.
 *
 * A file whose data goes on behind the last tensor, or ends before it, was cut
 * or patched together and is refused whole.
 *
 * A file that __metadata__ calls packed is one of ours (packed.h): it is
 * aligned, and of some of its tensors __metadata__ says what the bytes mean.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/weights/packed.h"
#include "engine/weights/safetensors.h"

#define PAGE 4096
#define ALIGNMENT 64		 /* of tensors in a packed file */
#define PACKED_KEY "packed." /* in __metadata__, before a tensor's name */

/* What a file may hold beside the dtypes that are computed with. */
static const struct
{
	const char *name;
	int			size; /* bytes of an element */
} other_types[] = {
	{"F64", 8}, {"I64", 8}, {"U64", 8},	 {"I32", 4},	 {"U32", 4},	 {"I16", 2},	 {"U16", 2},
	{"I8", 1},	{"U8", 1},	{"BOOL", 1}, {"F8_E4M3", 1}, {"F8_E5M2", 1}, {"F8_E8M0", 1},
};

#define N_OTHERS (sizeof(other_types) / sizeof(other_types[0]))

static json_t *read_header(const glm_shard *shard, uint64_t *data_offset, glm_error *err);
static bool	   read_entries(glm_shard *shard, json_t *header, uint64_t data_offset, glm_error *err);
static bool	   read_entry(glm_shard_entry *e, const char *name, json_t *value, uint64_t data_size,
						  glm_error *err);
static bool	   read_entry_shape(glm_shard_entry *e, json_t *shape, int size, uint64_t *bytes);
static bool	   read_offsets(glm_shard_entry *e, json_t *offsets, uint64_t data_size);
static bool	   read_metadata(glm_shard *shard, json_t *metadata, glm_error *err);
static bool	   check_packed_format(const glm_shard *shard, json_t *metadata, uint64_t data_offset,
								   glm_error *err);
static bool	   read_packed(glm_shard *shard, json_t *metadata, glm_error *err);
static bool	   read_packed_entry(glm_shard_entry *e, const char *text, glm_error *err);
static bool	   check_layout(const glm_shard *shard, uint64_t data_size, glm_error *err);

/* ---- Entry points ------------------------------------------------------ */

bool
glm_shard_open(glm_shard *shard, glm_weight_files *files, char *path, glm_error *err)
{
	uint64_t data_offset;
	json_t	*header;
	json_t	*metadata;
	bool	 ok;

	memset(shard, 0, sizeof(*shard));
	shard->path = path;
	shard->file = glm_weight_file_open(files, path, err);
	if (shard->file == NULL)
		return false;
	header = read_header(shard, &data_offset, err);
	if (header == NULL)
		return false;
	metadata = json_object_get(header, "__metadata__");
	ok = read_metadata(shard, metadata, err) &&
		 check_packed_format(shard, metadata, data_offset, err) &&
		 read_entries(shard, header, data_offset, err) && read_packed(shard, metadata, err) &&
		 check_layout(shard, glm_weight_file_size(shard->file) - data_offset, err);
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
	glm_weight_file_close(shard->file);
	memset(shard, 0, sizeof(*shard));
}

/* ---- The header -------------------------------------------------------- */

static uint64_t
read_u64_le(const uint8_t *bytes)
{
	uint64_t value = 0;

	for (int i = 7; i >= 0; i--)
		value = value << 8 | bytes[i];
	return value;
}

/* The header as JSON; *data_offset is where the data begins. */
static json_t *
read_header(const glm_shard *shard, uint64_t *data_offset, glm_error *err)
{
	uint64_t size = glm_weight_file_size(shard->file);
	uint64_t length;
	uint8_t	 prefix[8];
	char	*text;
	json_t	*header = NULL;

	if (size < sizeof(prefix))
	{
		glm_fail(err, GLM_BAD_FILE, "file \"%s\" is too short for a safetensors file", shard->path);
		return NULL;
	}
	if (!glm_weight_file_read(shard->file, shard->path, prefix, 0, sizeof(prefix), err))
		return NULL;
	length = read_u64_le(prefix);
	if (length > size - sizeof(prefix))
	{
		glm_fail(err, GLM_BAD_FILE,
				 "file \"%s\" is truncated or no safetensors file: a header of %" PRIu64
				 " bytes in a file of %" PRIu64,
				 shard->path, length, size);
		return NULL;
	}
	if (length > GLM_SHARD_JSON_MAX)
	{
		glm_fail(err, GLM_BAD_FILE,
				 "file \"%s\" has a header of %" PRIu64 " bytes, "
				 "more than the %zu allowed",
				 shard->path, length, GLM_SHARD_JSON_MAX);
		return NULL;
	}
	text = malloc(length + 1);
	if (text == NULL)
		glm_no_memory(err);
	else if (glm_weight_file_read(shard->file, shard->path, text, sizeof(prefix), length, err))
		header = glm_json_object(text, length, shard->path, err);
	free(text);
	*data_offset = sizeof(prefix) + length;
	return header;
}

static bool
read_entries(glm_shard *shard, json_t *header, uint64_t data_offset, glm_error *err)
{
	uint64_t	data_size = glm_weight_file_size(shard->file) - data_offset;
	const char *name;
	json_t	   *value;

	shard->entry = calloc(json_object_size(header) + 1, sizeof(*shard->entry));
	if (shard->entry == NULL)
		return glm_no_memory(err);

	json_object_foreach(header, name, value)
	{
		glm_shard_entry *e = &shard->entry[shard->n_entries];

		if (strcmp(name, "__metadata__") == 0)
			continue;
		e->path = shard->path;
		if (!read_entry(e, name, value, data_size, err))
			return false;
		e->data = glm_weight_file_data(shard->file) + data_offset + e->begin;
		e->name = strdup(name);
		if (e->name == NULL)
			return glm_no_memory(err);
		shard->n_entries++;
	}
	return true;
}

/* All values are strings; whose file is it? */
static bool
read_metadata(glm_shard *shard, json_t *metadata, glm_error *err)
{
	const char *key;
	json_t	   *value;

	if (metadata == NULL)
		return true;
	if (!json_is_object(metadata))
		return glm_fail(err, GLM_BAD_FILE, "\"__metadata__\" in \"%s\" is not an object",
						shard->path);
	json_object_foreach(metadata, key, value)
	{
		if (!json_is_string(value))
			return glm_fail(err, GLM_BAD_FILE,
							"\"__metadata__\" in \"%s\": \"%.100s\" is not a string", shard->path,
							key);
		if (strcmp(key, "format") == 0)
			shard->packed = strcmp(json_string_value(value), GLM_PACKED_FORMAT) == 0;
	}
	return true;
}

/* ---- One tensor -------------------------------------------------------- */

/* Fills what follows from the type's name; bytes of an element, 0: the type is unknown. */
static int
read_element_type(glm_shard_entry *e, const char *name)
{
	e->computable = glm_dtype_stored(name, &e->dtype);
	if (e->computable)
	{
		e->type = glm_dtypes[e->dtype].stored;
		return glm_dtypes[e->dtype].size;
	}
	for (size_t i = 0; i < N_OTHERS; i++)
		if (strcmp(other_types[i].name, name) == 0)
		{
			e->type = other_types[i].name;
			return other_types[i].size;
		}
	return 0;
}

static bool
read_entry(glm_shard_entry *e, const char *name, json_t *value, uint64_t data_size, glm_error *err)
{
	const char *type = json_string_value(json_object_get(value, "dtype"));
	int			size;
	uint64_t	bytes;

	if (type == NULL)
		return glm_fail(err, GLM_BAD_FILE, "tensor \"%.100s\" in \"%s\" has no dtype", name,
						e->path);
	size = read_element_type(e, type);
	if (size == 0)
		return glm_fail(err, GLM_UNSUPPORTED,
						"tensor \"%.100s\" in \"%s\" has unknown dtype \"%.20s\"", name, e->path,
						type);
	if (!read_entry_shape(e, json_object_get(value, "shape"), size, &bytes))
		return glm_fail(err, GLM_BAD_FILE, "tensor \"%.100s\" in \"%s\" has no valid shape", name,
						e->path);
	if (!read_offsets(e, json_object_get(value, "data_offsets"), data_size))
		return glm_fail(err, GLM_BAD_FILE,
						"tensor \"%.100s\" in \"%s\" has no data_offsets "
						"inside the file's %" PRIu64 " bytes of data",
						name, e->path, data_size);
	if (e->end - e->begin != bytes)
		return glm_fail(err, GLM_BAD_FILE,
						"tensor \"%.100s\" in \"%s\" has %" PRIu64 " bytes of data, "
						"but its shape and dtype need %" PRIu64,
						name, e->path, e->end - e->begin, bytes);
	return true;
}

/* Fills n_dims and shape; *bytes is the size of all elements. */
static bool
read_entry_shape(glm_shard_entry *e, json_t *shape, int size, uint64_t *bytes)
{
	size_t	i;
	json_t *dim;

	if (!json_is_array(shape))
		return false;
	e->n_dims = json_array_size(shape);
	e->shape[0] = e->shape[1] = 1;
	*bytes = (uint64_t) size;
	json_array_foreach(shape, i, dim)
	{
		json_int_t n = json_integer_value(dim);

		if (!json_is_integer(dim) || n < 0 || __builtin_mul_overflow(*bytes, (uint64_t) n, bytes))
			return false;
		if (i < 2)
			e->shape[i] = n;
	}
	return true;
}

static bool
read_offsets(glm_shard_entry *e, json_t *offsets, uint64_t data_size)
{
	json_t *begin = json_array_get(offsets, 0);
	json_t *end = json_array_get(offsets, 1);

	if (json_array_size(offsets) != 2 || !json_is_integer(begin) || !json_is_integer(end) ||
		json_integer_value(begin) < 0 || json_integer_value(end) < json_integer_value(begin))
		return false;
	e->begin = (uint64_t) json_integer_value(begin);
	e->end = (uint64_t) json_integer_value(end);
	return e->end <= data_size;
}

/* ---- Packed tensors ------------------------------------------------------ */

static const char *
get_text(json_t *metadata, const char *key)
{
	const char *text = json_string_value(json_object_get(metadata, key));

	return text ? text : "";
}

/* Is a packed file of the one kind we read? */
static bool
check_packed_format(const glm_shard *shard, json_t *metadata, uint64_t data_offset, glm_error *err)
{
	char version[16];

	if (!shard->packed)
		return true;
	snprintf(version, sizeof(version), "%d", GLM_PACKED_VERSION);
	if (strcmp(get_text(metadata, "version"), version) != 0)
		return glm_fail(err, GLM_UNSUPPORTED,
						"file \"%s\" has version \"%.20s\" of the packed "
						"format; only version %s is known",
						shard->path, get_text(metadata, "version"), version);
	if (strcmp(get_text(metadata, "layout"), GLM_PACKED_LAYOUT) != 0)
		return glm_fail(err, GLM_UNSUPPORTED,
						"file \"%s\" has the layout \"%.40s\"; "
						"only \"%s\" is known",
						shard->path, get_text(metadata, "layout"), GLM_PACKED_LAYOUT);
	if (data_offset % PAGE != 0)
		return glm_fail(err, GLM_BAD_FILE,
						"the data of \"%s\" begins at byte %" PRIu64 ", "
						"on no page boundary",
						shard->path, data_offset);
	return true;
}

/* What __metadata__ says of an entry of a packed file; *n counts those it knows. */
static bool
apply_metadata(glm_shard_entry *e, json_t *metadata, size_t *n, glm_error *err)
{
	const char *text;
	char	   *key;

	if (asprintf(&key, PACKED_KEY "%s", e->name) < 0)
		return glm_no_memory(err);
	text = json_string_value(json_object_get(metadata, key));
	free(key);
	if (text == NULL)
		return true;
	(*n)++;
	return read_packed_entry(e, text, err);
}

static bool
read_packed(glm_shard *shard, json_t *metadata, glm_error *err)
{
	size_t		known = 0;
	size_t		said = 0;
	const char *key;
	json_t	   *value;

	if (!shard->packed)
		return true;
	for (size_t i = 0; i < shard->n_entries; i++)
	{
		if (!apply_metadata(&shard->entry[i], metadata, &known, err))
			return false;
	}
	json_object_foreach(metadata, key, value)
		said += strncmp(key, PACKED_KEY, strlen(PACKED_KEY)) == 0;
	return said == known || glm_fail(err, GLM_BAD_FILE,
									 "\"__metadata__\" in \"%s\" describes %zu "
									 "packed tensors that are not there",
									 shard->path, said - known);
}

/* A whole number from 1 to INT32_MAX with a blank before it; moves *text behind. */
static bool
read_count(const char **text, int64_t *out)
{
	const char *p = *text;

	if (*p++ != ' ' || *p < '1' || *p > '9')
		return false;
	for (*out = 0; *p >= '0' && *p <= '9'; p++)
	{
		*out = *out * 10 + (*p - '0');
		if (*out > INT32_MAX)
			return false;
	}
	*text = p;
	return true;
}

/* "int4 64 <rows> <cols>": the entry becomes that of the weight [rows, cols]. */
static bool
read_packed_entry(glm_shard_entry *e, const char *text, glm_error *err)
{
	size_t		length = strcspn(text, " ");
	const char *rest = text + length;
	char		name[8];
	glm_dtype	dtype;
	int64_t		group;
	int64_t		rows;
	int64_t		cols;

	snprintf(name, sizeof(name), "%.*s", (int) (length < sizeof(name) ? length : sizeof(name)),
			 text);
	if (!glm_dtype_packed(name, &dtype))
		return glm_fail(err, GLM_UNSUPPORTED,
						"tensor \"%.100s\" in \"%s\" is packed as \"%.40s\"; "
						"only int4 and int8 are known",
						e->name, e->path, text);
	if (!read_count(&rest, &group) || !read_count(&rest, &rows) || !read_count(&rest, &cols) ||
		*rest != '\0')
		return glm_fail(err, GLM_BAD_FILE,
						"tensor \"%.100s\" in \"%s\" is packed as \"%.40s\", "
						"not as type, group, rows and columns",
						e->name, e->path, text);
	if (!glm_packed_group_known(group))
		return glm_fail(err, GLM_UNSUPPORTED,
						"tensor \"%.100s\" in \"%s\" has groups of %" PRId64 ", not 32, 64 or 128",
						e->name, e->path, group);
	if (strcmp(e->type, glm_dtypes[dtype].stored) != 0 || e->n_dims != 2 ||
		(size_t) e->shape[0] != glm_packed_tiles(rows) ||
		(size_t) e->shape[1] != glm_packed_tile_bytes(dtype, cols, group))
		return glm_fail(err, GLM_BAD_FILE,
						"tensor \"%.100s\" in \"%s\" is not the U8 [%zu, %zu] "
						"that \"%.60s\" calls for",
						e->name, e->path, glm_packed_tiles(rows),
						glm_packed_tile_bytes(dtype, cols, group), text);
	e->dtype = dtype;
	e->computable = true;
	e->group = (int) group;
	e->shape[0] = rows;
	e->shape[1] = cols;
	return true;
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
	uint64_t		 end = 0;

	qsort(entry, shard->n_entries, sizeof(*entry), compare_begin);
	for (size_t i = 0; i < shard->n_entries; i++)
	{
		if (entry[i].begin < end)
			return glm_fail(err, GLM_BAD_FILE,
							"tensors \"%.100s\" and \"%.100s\" in \"%s\" overlap",
							entry[i - 1].name, entry[i].name, shard->path);
		if (shard->packed && entry[i].begin % ALIGNMENT != 0 &&
			strncmp(entry[i].name, GLM_PADDING, strlen(GLM_PADDING)) != 0)
			return glm_fail(err, GLM_BAD_FILE,
							"tensor \"%.100s\" in \"%s\" begins on no multiple "
							"of %d bytes",
							entry[i].name, shard->path, ALIGNMENT);
		end = entry[i].end;
	}
	if (end != data_size)
		return glm_fail(err, GLM_BAD_FILE,
						"file \"%s\" has %" PRIu64 " bytes behind its last tensor", shard->path,
						data_size - end);
	return true;
}
