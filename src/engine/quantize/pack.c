/*
 * pack.c - the files of a packed directory.
 *
 * All sizes are known before the first weight is, so headers are written first
 * and data follows in one stream; each file's SHA-256, a chunk at a time, is
 * computed from what passes by.  Nothing is kept of the weights.
 *
 * A safetensors file may have no holes, or the usual tools refuse it.  So what
 * lies between a tensor and the next multiple of 64 bytes is a tensor of its own,
 * `padding.<n>`.  Packed tensors never need one, and those of real models do not
 * either; odd little test models do.
 *
 * No locks: a glm_pack belongs to one thread at a time.
 */
#include "engine/quantize/pack.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "engine/quantize/pack_file.h"
#include "engine/base/file.h"

#define PAGE 4096
#define ALIGNMENT 64
#define INDEX_FILE "model.safetensors.index.json"
#define COPY_MAX ((size_t) 64 << 20) /* tokenizers have a few MB */

typedef struct planned_file
{
	char name[48];
	int	 first; /* its tensors are [first, end) */
	int	 end;
} planned_file;

struct glm_pack
{
	glm_pack_dir dir;
	json_t		*files; /* of the manifest */

	glm_pack_tensor *tensor; /* names are owned */
	int				 n_tensors;
	bool			 packed; /* some of them are */
	planned_file	*file;
	int				 n_files;
	uint64_t		 data_bytes; /* of all tensors */

	/* where the stream of data is */
	glm_pack_file out;
	int			  file_number;
	int			  next;		 /* tensor that is being written */
	uint64_t	  left;		 /* bytes it lacks */
	int			  n_padding; /* padding tensors in the headers so far */
};

static bool start_file(glm_pack *pack, glm_error *err);
static bool put_header(glm_pack *pack, const planned_file *file, glm_error *err);
static bool end_tensor(glm_pack *pack, glm_error *err);

/* ---- Small files ------------------------------------------------------------- */

/* A small file at once, listed in `files`. */
static bool
write_file(glm_pack *pack, const char *name, const void *bytes, size_t n, json_t *files,
		   glm_error *err)
{
	glm_pack_file out = {.fd = -1};
	bool		  ok = glm_pack_file_open(&out, &pack->dir, name, err) &&
			  glm_pack_file_write(&out, bytes, n, err) && glm_pack_file_close(&out, files, err);

	glm_pack_file_free(&out);
	return ok;
}

static bool
write_json(glm_pack *pack, const char *name, json_t *root, json_t *files, glm_error *err)
{
	char *text = root != NULL ? json_dumps(root, JSON_INDENT(1)) : NULL;
	bool  ok =
		 text != NULL ? write_file(pack, name, text, strlen(text), files, err) : glm_no_memory(err);

	free(text);
	return ok;
}

/* ---- Opening and closing ----------------------------------------------------- */

glm_pack *
glm_pack_open(const char *target, glm_error *err)
{
	glm_pack *pack = calloc(1, sizeof(*pack));

	if (pack == NULL)
	{
		glm_no_memory(err);
		return NULL;
	}
	pack->dir.fd = pack->dir.parent_fd = -1;
	pack->out.fd = -1;
	pack->files = json_array();
	if (pack->files == NULL)
		glm_no_memory(err);
	else if (glm_pack_dir_make(&pack->dir, target, err))
		return pack;
	glm_pack_close(pack);
	return NULL;
}

void
glm_pack_close(glm_pack *pack)
{
	if (pack == NULL)
		return;
	glm_pack_file_free(&pack->out);
	glm_pack_dir_free(&pack->dir);
	for (int i = 0; i < pack->n_tensors; i++)
		free((char *) pack->tensor[i].name);
	free(pack->tensor);
	free(pack->file);
	json_decref(pack->files);
	free(pack);
}

const char *
glm_pack_path(const glm_pack *pack)
{
	return pack->dir.path;
}

/* ---- The plan ---------------------------------------------------------------- */

static uint64_t
padding_of(uint64_t bytes)
{
	return (ALIGNMENT - bytes % ALIGNMENT) % ALIGNMENT;
}

static bool
copy_tensors(glm_pack *pack, const glm_pack_tensor *tensors, int n, glm_error *err)
{
	pack->tensor = calloc((size_t) n, sizeof(*pack->tensor));
	pack->file = calloc((size_t) n, sizeof(*pack->file));
	if (pack->tensor == NULL || pack->file == NULL)
		return glm_no_memory(err);
	for (int i = 0; i < n; i++)
	{
		pack->tensor[i] = tensors[i];
		pack->tensor[i].name = strdup(tensors[i].name);
		pack->n_tensors++;
		pack->packed |= glm_is_packed(tensors[i].form.dtype);
		if (pack->tensor[i].name == NULL)
			return glm_no_memory(err);
	}
	return true;
}

/* Which tensors go into which file: as many as fit, in order. */
static void
cut_into_files(glm_pack *pack, uint64_t file_max)
{
	uint64_t in_file = 0;

	for (int i = 0; i < pack->n_tensors; i++)
	{
		uint64_t bytes = glm_tensor_bytes(&pack->tensor[i].form);

		pack->data_bytes += bytes;
		if (i == 0 || in_file + bytes > file_max)
		{
			pack->file[pack->n_files++].first = i;
			in_file = 0;
		}
		pack->file[pack->n_files - 1].end = i + 1;
		in_file += bytes + padding_of(bytes);
	}
	for (int i = 0; i < pack->n_files; i++)
		snprintf(pack->file[i].name, sizeof(pack->file[i].name),
				 pack->n_files == 1 ? "model.safetensors" : "model-%05d-of-%05d.safetensors", i + 1,
				 pack->n_files);
}

/* Tells now what would fail in an hour; a disk that fills up meanwhile is seen then. */
static bool
check_space(const glm_pack *pack, glm_error *err)
{
	struct statvfs fs;
	uint64_t	   room;

	if (fstatvfs(pack->dir.fd, &fs) != 0)
		return true;
	room = (uint64_t) fs.f_bavail * fs.f_frsize;
	if (room >= pack->data_bytes)
		return true;
	return glm_fail(err, GLM_DISK_FULL,
					"the model will take %.1f MB, but there are only %.1f MB left "
					"for \"%s\"",
					(double) pack->data_bytes / 1e6, (double) room / 1e6, pack->dir.target);
}

bool
glm_pack_plan(glm_pack *pack, const glm_pack_tensor *tensors, int n, uint64_t file_max,
			  glm_error *err)
{
	if (!copy_tensors(pack, tensors, n, err))
		return false;
	cut_into_files(pack, file_max);
	return check_space(pack, err) && start_file(pack, err);
}

/* ---- Headers ----------------------------------------------------------------- */

/* Adds bytes of this shape to the header; cols 0: a vector. */
static bool
add_entry(json_t *header, const char *name, const char *dtype, uint64_t rows, uint64_t cols,
		  uint64_t *offset, uint64_t bytes)
{
	json_t *shape = json_pack("[I]", (json_int_t) rows);

	if (cols > 0 && json_array_append_new(shape, json_integer((json_int_t) cols)) != 0)
	{
		json_decref(shape);
		return false;
	}
	*offset += bytes;
	return json_object_set_new(header, name,
							   json_pack("{s:s, s:o, s:[I, I]}", "dtype", dtype, "shape", shape,
										 "data_offsets", (json_int_t) (*offset - bytes),
										 (json_int_t) *offset)) == 0;
}

static bool
add_tensor(json_t *header, json_t *metadata, const glm_pack_tensor *t, uint64_t *offset)
{
	uint64_t bytes = glm_tensor_bytes(&t->form);
	size_t	 rows = (size_t) t->form.shape[0];
	size_t	 cols = (size_t) t->form.shape[1];
	size_t	 tiles = glm_packed_tiles(rows);
	char	 key[256];
	char	 value[96];

	if (!glm_is_packed(t->form.dtype))
		return add_entry(header, t->name, glm_dtypes[t->form.dtype].stored, rows,
						 t->form.n_dims == 2 ? cols : 0, offset, bytes);
	snprintf(key, sizeof(key), "packed.%s", t->name);
	snprintf(value, sizeof(value), "%s %d %zu %zu", glm_dtypes[t->form.dtype].packed, t->form.group,
			 rows, cols);
	return json_object_set_new(metadata, key, json_string(value)) == 0 &&
		   add_entry(header, t->name, glm_dtypes[t->form.dtype].stored, tiles, bytes / tiles,
					 offset, bytes);
}

static bool
add_padding(glm_pack *pack, json_t *header, uint64_t *offset)
{
	uint64_t bytes = padding_of(*offset);
	char	 name[32];

	if (bytes == 0)
		return true;
	snprintf(name, sizeof(name), GLM_PADDING "%d", pack->n_padding++);
	return add_entry(header, name, "U8", bytes, 0, offset, bytes);
}

static json_t *
make_header(glm_pack *pack, const planned_file *file)
{
	char	 version[16];
	json_t	*header = glm_json_new();
	json_t	*metadata;
	uint64_t offset = 0;
	bool	 ok;

	snprintf(version, sizeof(version), "%d", GLM_PACKED_VERSION);
	metadata = !pack->packed ? json_pack("{s:s}", "format", "pt")
							 : json_pack("{s:s, s:s, s:s}", "format", GLM_PACKED_FORMAT, "version",
										 version, "layout", GLM_PACKED_LAYOUT);
	ok = json_object_set(header, "__metadata__", metadata) == 0;
	for (int i = file->first; ok && i < file->end; i++)
		ok = add_tensor(header, metadata, &pack->tensor[i], &offset) &&
			 (i + 1 == file->end || add_padding(pack, header, &offset));
	json_decref(metadata);
	if (!ok)
	{
		json_decref(header);
		return NULL;
	}
	return header;
}

/* Length, JSON, and blanks up to the page on which the data begins. */
static bool
put_header(glm_pack *pack, const planned_file *file, glm_error *err)
{
	json_t	*header = make_header(pack, file);
	char	*text = header != NULL ? json_dumps(header, JSON_COMPACT) : NULL;
	size_t	 length = text != NULL ? strlen(text) : 0;
	size_t	 whole = (8 + length + PAGE - 1) / PAGE * PAGE;
	uint8_t *bytes = text != NULL ? malloc(whole) : NULL;
	bool	 ok = false;

	if (bytes == NULL)
		glm_no_memory(err);
	else
	{
		memset(bytes, ' ', whole);
		for (int i = 0; i < 8; i++)
			bytes[i] = (uint8_t) ((uint64_t) (whole - 8) >> 8 * i);
		memcpy(bytes + 8, text, length);
		ok = glm_pack_file_write(&pack->out, bytes, whole, err);
	}
	free(bytes);
	free(text);
	json_decref(header);
	return ok;
}

/* ---- Data -------------------------------------------------------------------- */

static bool
start_file(glm_pack *pack, glm_error *err)
{
	const planned_file *file = &pack->file[pack->file_number];

	pack->left = glm_tensor_bytes(&pack->tensor[pack->next].form);
	return glm_pack_file_open(&pack->out, &pack->dir, file->name, err) &&
		   put_header(pack, file, err);
}

/* Goes on to the next tensor, and with it perhaps to the next file. */
static bool
end_tensor(glm_pack *pack, glm_error *err)
{
	static const uint8_t zeros[ALIGNMENT];
	uint64_t			 bytes = glm_tensor_bytes(&pack->tensor[pack->next].form);

	if (++pack->next < pack->file[pack->file_number].end)
	{
		pack->left = glm_tensor_bytes(&pack->tensor[pack->next].form);
		return glm_pack_file_write(&pack->out, zeros, padding_of(bytes), err);
	}
	if (!glm_pack_file_close(&pack->out, pack->files, err))
		return false;
	return ++pack->file_number == pack->n_files || start_file(pack, err);
}

bool
glm_pack_put(glm_pack *pack, const void *bytes, size_t n, glm_error *err)
{
	if (pack->next == pack->n_tensors || n > pack->left)
		return glm_fail(err, GLM_INTERNAL, "more data than planned for \"%s\"", pack->dir.target);
	if (!glm_pack_file_write(&pack->out, bytes, n, err))
		return false;
	pack->left -= n;
	return pack->left > 0 || end_tensor(pack, err);
}

/* ---- The rest of the directory ------------------------------------------------- */

bool
glm_pack_add(glm_pack *pack, const char *name, const void *bytes, size_t n, glm_error *err)
{
	return write_file(pack, name, bytes, n, pack->files, err);
}

bool
glm_pack_copy(glm_pack *pack, const char *dir, const char *name, glm_error *err)
{
	glm_buf bytes = {0};
	char   *path;
	bool	ok;

	if (asprintf(&path, "%s/%s", dir, name) < 0)
		return glm_no_memory(err);
	ok = access(path, F_OK) != 0 || (glm_file_read(&bytes, path, COPY_MAX, err) &&
									 glm_pack_add(pack, name, bytes.data, bytes.length, err));
	glm_buf_free(&bytes);
	free(path);
	return ok;
}

static bool
write_index(glm_pack *pack, glm_error *err)
{
	json_t *map = glm_json_new();
	json_t *root;
	bool	ok = map != NULL;

	for (int i = 0; ok && i < pack->n_files; i++)
		for (int j = pack->file[i].first; ok && j < pack->file[i].end; j++)
			ok = json_object_set_new(map, pack->tensor[j].name, json_string(pack->file[i].name)) ==
				 0;
	root = ok ? json_pack("{s:{s:I}, s:O}", "metadata", "total_size", (json_int_t) pack->data_bytes,
						  "weight_map", map)
			  : NULL;
	ok = write_json(pack, INDEX_FILE, root, pack->files, err);
	json_decref(root);
	json_decref(map);
	return ok;
}

/* The manifest lists all files but itself, so it comes last. */
static bool
write_manifest(glm_pack *pack, const glm_pack_info *info, glm_error *err)
{
	json_t *root =
		json_pack("{s:s, s:i, s:s, s:s, s:i, s:s, s:f, s:I, s:O}", "format", GLM_PACKED_FORMAT,
				  "version", GLM_PACKED_VERSION, "layout", GLM_PACKED_LAYOUT, "quantization",
				  glm_dtypes[info->dtype].packed, "group_size", info->group, "method", info->method,
				  "bits_per_weight", info->bits_per_weight, "chunk_size",
				  (json_int_t) GLM_CHUNK_SIZE, "files", pack->files);
	json_t *unlisted = json_array();
	bool	ok =
		   unlisted != NULL ? write_json(pack, GLM_MANIFEST, root, unlisted, err) : glm_no_memory(err);

	json_decref(unlisted);
	json_decref(root);
	return ok;
}

bool
glm_pack_seal(glm_pack *pack, const glm_pack_info *info, glm_error *err)
{
	if (pack->next != pack->n_tensors)
		return glm_fail(err, GLM_INTERNAL, "less data than planned for \"%s\"", pack->dir.target);
	return write_index(pack, err) && (info == NULL || write_manifest(pack, info, err)) &&
		   glm_pack_dir_sync(&pack->dir, err);
}

bool
glm_pack_publish(glm_pack *pack, glm_error *err)
{
	return glm_pack_dir_publish(&pack->dir, err);
}
