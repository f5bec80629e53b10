/*
 * manifest.c - the manifest of a packed directory, believed only after checking.
 *
 * The manifest lists every other file of its directory with its size and the
 * SHA-256 of each chunk.  Reading it checks all that can be checked without the
 * files: known format, version and layout, plain names, none twice, as many
 * hashes as the size makes chunks.  glm_manifest_check then holds it against
 * the directory.  Weights are not read here; their chunks are compared when
 * they are mapped (chunk.c).
 *
 * Hidden files are not looked at: no reader of a model directory opens one.
 *
 * A manifest is immutable once read, so all functions are thread-safe.
 */
#include "engine/weights/manifest.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/file.h"
#include "engine/base/json.h"

/* 8 MB are the hashes of 15 TB of weights. */
#define MANIFEST_LIMIT ((size_t) 8 << 20)

#define MAX_FILES 1024

static bool check_format(const glm_manifest *m, json_t *root, glm_error *err);
static bool read_quantization(glm_manifest *m, json_t *root, glm_error *err);
static bool read_files(glm_manifest *m, json_t *root, glm_error *err);
static bool read_listed_file(const glm_manifest *m, glm_manifest_file *file, json_t *value,
							 glm_error *err);
static bool read_hashes(const glm_manifest *m, glm_manifest_file *file, json_t *chunks,
						glm_error *err);
static bool sort_files(glm_manifest *m, glm_error *err);
static bool check_listed(const glm_manifest *m, const char *dir, glm_error *err);
static bool check_file(const glm_manifest_file *file, const char *path, glm_verify verify,
					   glm_error *err);

/* ---- Entry points ------------------------------------------------------ */

bool
glm_manifest_read(glm_manifest **out, const char *dir, glm_error *err)
{
	glm_manifest *m = calloc(1, sizeof(*m));
	json_t		 *root;
	struct stat	  st;
	bool		  ok;

	*out = NULL;
	if (m == NULL || asprintf(&m->path, "%s/%s", dir, GLM_MANIFEST) < 0)
	{
		free(m);
		return glm_no_memory(err);
	}
	/* lstat: one that is there but cannot be opened is an error, not absent */
	if (lstat(m->path, &st) != 0 && errno == ENOENT)
	{
		glm_manifest_free(m);
		return true;
	}
	root = glm_json_read(m->path, MANIFEST_LIMIT, err);
	ok = root != NULL && check_format(m, root, err) && read_quantization(m, root, err) &&
		 read_files(m, root, err) && sort_files(m, err);
	json_decref(root);
	if (ok)
		*out = m;
	else
		glm_manifest_free(m);
	return ok;
}

void
glm_manifest_free(glm_manifest *m)
{
	if (m == NULL)
		return;
	for (int i = 0; i < m->n_files; i++)
	{
		free(m->file[i].name);
		free(m->file[i].hash);
	}
	free(m->file);
	free(m->path);
	free(m);
}

static int
compare_names(const void *a, const void *b)
{
	return strcmp(((const glm_manifest_file *) a)->name, ((const glm_manifest_file *) b)->name);
}

const glm_manifest_file *
glm_manifest_find(const glm_manifest *m, const char *name)
{
	const glm_manifest_file wanted = {.name = (char *) name};

	return bsearch(&wanted, m->file, (size_t) m->n_files, sizeof(wanted), compare_names);
}

bool
glm_manifest_check(const glm_manifest *m, const char *dir, glm_verify verify, glm_error *err)
{
	bool ok = check_listed(m, dir, err);

	for (int i = 0; ok && i < m->n_files; i++)
	{
		char *path;

		if (asprintf(&path, "%s/%s", dir, m->file[i].name) < 0)
			return glm_no_memory(err);
		ok = check_file(&m->file[i], path, verify, err);
		free(path);
	}
	return ok;
}

/* ---- What it says of the whole --------------------------------------------- */

static const char *
get_string(json_t *root, const char *key)
{
	const char *value = json_string_value(json_object_get(root, key));

	return value ? value : "";
}

/* Refuses what we do not know; says what it is. */
static bool
check_format(const glm_manifest *m, json_t *root, glm_error *err)
{
	json_t *version = json_object_get(root, "version");
	json_t *chunk_size = json_object_get(root, "chunk_size");

	if (strcmp(get_string(root, "format"), GLM_PACKED_FORMAT) != 0)
		return glm_fail(err, GLM_BAD_FILE, "file \"%s\" has the format \"%.40s\", not \"%s\"",
						m->path, get_string(root, "format"), GLM_PACKED_FORMAT);
	if (!json_is_integer(version) || json_integer_value(version) < 1)
		return glm_fail(err, GLM_BAD_FILE, "file \"%s\" has no version", m->path);
	if (json_integer_value(version) > GLM_PACKED_VERSION)
	{
		glm_fail(err, GLM_UNSUPPORTED,
				 "file \"%s\" has version %" JSON_INTEGER_FORMAT
				 " of the packed format; only version %d is known",
				 m->path, json_integer_value(version), GLM_PACKED_VERSION);
		glm_advise(err, GLM_ADVICE_NEWER_VERSION);
		return false;
	}
	if (strcmp(get_string(root, "layout"), GLM_PACKED_LAYOUT) != 0)
		return glm_fail(err, GLM_UNSUPPORTED,
						"file \"%s\" has the layout \"%.40s\"; only \"%s\" is known", m->path,
						get_string(root, "layout"), GLM_PACKED_LAYOUT);
	if (!json_is_integer(chunk_size) ||
		json_integer_value(chunk_size) != (json_int_t) GLM_CHUNK_SIZE)
		return glm_fail(err, GLM_UNSUPPORTED, "file \"%s\": chunk_size is not %" PRIu64, m->path,
						GLM_CHUNK_SIZE);
	return true;
}

static bool
read_quantization(glm_manifest *m, json_t *root, glm_error *err)
{
	const char *quantization = get_string(root, "quantization");
	json_int_t	group = json_integer_value(json_object_get(root, "group_size"));

	if (!glm_dtype_packed(quantization, &m->dtype))
		return glm_fail(err, GLM_UNSUPPORTED,
						"file \"%s\" has the quantization \"%.40s\"; "
						"only \"int4\" and \"int8\" are known",
						m->path, quantization);
	if (!glm_packed_group_known(group))
		return glm_fail(err, GLM_UNSUPPORTED, "file \"%s\": group_size is not 32, 64 or 128",
						m->path);
	m->group = (int) group;
	return true;
}

/* ---- What it says of files ----------------------------------------------------- */

static bool
read_files(glm_manifest *m, json_t *root, glm_error *err)
{
	json_t *files = json_object_get(root, "files");
	json_t *value;
	size_t	i;

	if (json_array_size(files) < 1 || json_array_size(files) > MAX_FILES)
		return glm_fail(err, GLM_BAD_FILE, "\"files\" of \"%s\" is not a list of 1 to %d files",
						m->path, MAX_FILES);
	m->file = calloc(json_array_size(files), sizeof(*m->file));
	if (m->file == NULL)
		return glm_no_memory(err);
	json_array_foreach(files, i, value)
	{
		m->n_files++;
		if (!read_listed_file(m, &m->file[i], value, err))
			return false;
	}
	return true;
}

static bool
read_listed_file(const glm_manifest *m, glm_manifest_file *file, json_t *value, glm_error *err)
{
	const char *name = get_string(value, "name");
	json_t	   *size = json_object_get(value, "size");

	file->name = strdup(name);
	if (file->name == NULL)
		return glm_no_memory(err);
	if (!glm_plain_name(name) || strcmp(name, GLM_MANIFEST) == 0)
		return glm_fail(err, GLM_BAD_FILE, "\"files\" of \"%s\": \"%.100s\" is no plain file name",
						m->path, name);
	if (!json_is_integer(size) || json_integer_value(size) < 0)
		return glm_fail(err, GLM_BAD_FILE, "\"files\" of \"%s\" gives no size for \"%.100s\"",
						m->path, name);
	file->size = (uint64_t) json_integer_value(size);
	return read_hashes(m, file, json_object_get(value, "chunks"), err);
}

/* The list bounds what is allocated, whatever the size claims. */
static bool
read_hashes(const glm_manifest *m, glm_manifest_file *file, json_t *chunks, glm_error *err)
{
	uint64_t n = file->size / GLM_CHUNK_SIZE + (file->size % GLM_CHUNK_SIZE != 0);
	size_t	 i;
	json_t	*text;

	if (!json_is_array(chunks) || json_array_size(chunks) != n)
		return glm_fail(err, GLM_BAD_FILE,
						"\"files\" of \"%s\" gives %zu chunks for the %" PRIu64
						" bytes of \"%.100s\", not %" PRIu64,
						m->path, json_array_size(chunks), file->size, file->name, n);
	file->hash = calloc(n + 1, sizeof(*file->hash));
	if (file->hash == NULL)
		return glm_no_memory(err);
	json_array_foreach(chunks, i, text)
	{
		if (!json_is_string(text) || !glm_hash_parse(&file->hash[i], json_string_value(text)))
			return glm_fail(err, GLM_BAD_FILE,
							"\"files\" of \"%s\": chunk %zu of \"%.100s\" "
							"has no SHA-256 in hex",
							m->path, i, file->name);
	}
	file->n_chunks = (int) n;
	return true;
}

static bool
sort_files(glm_manifest *m, glm_error *err)
{
	qsort(m->file, (size_t) m->n_files, sizeof(*m->file), compare_names);
	for (int i = 1; i < m->n_files; i++)
	{
		if (strcmp(m->file[i - 1].name, m->file[i].name) == 0)
			return glm_fail(err, GLM_BAD_FILE, "\"files\" of \"%s\" names \"%.100s\" twice",
							m->path, m->file[i].name);
	}
	return true;
}

/* ---- Against the directory ------------------------------------------------------- */

/* Is every file of the directory in the list? */
static bool
check_listed(const glm_manifest *m, const char *dir, glm_error *err)
{
	DIR			  *d = opendir(dir);
	struct dirent *item;
	bool		   ok = true;

	if (d == NULL)
		return glm_file_fail(err, "list", dir);
	while (ok && (item = readdir(d)) != NULL)
	{
		if (item->d_name[0] != '.' && strcmp(item->d_name, GLM_MANIFEST) != 0 &&
			glm_manifest_find(m, item->d_name) == NULL)
			ok = glm_fail(err, GLM_BAD_FILE,
						  "directory \"%s\" has a file \"%s\" that its " GLM_MANIFEST
						  " does not list",
						  dir, item->d_name);
	}
	closedir(d);
	return ok;
}

static bool
is_weights(const char *name)
{
	const char *end = strrchr(name, '.');

	return end != NULL && strcmp(end, ".safetensors") == 0;
}

static bool
check_hashes(const glm_manifest_file *file, int fd, const char *path, glm_error *err)
{
	for (int i = 0; i < file->n_chunks; i++)
	{
		uint64_t begin = (uint64_t) i * GLM_CHUNK_SIZE;
		uint64_t left = file->size - begin;
		uint64_t size = left < GLM_CHUNK_SIZE ? left : GLM_CHUNK_SIZE;
		glm_hash found;
		uint64_t n;

		if (!glm_hash_file(fd, path, begin, size, &found, &n, err))
			return false;
		if (n < size || memcmp(&found, &file->hash[i], sizeof(found)) != 0)
			return glm_manifest_mismatch(path, i, n, size, &found, &file->hash[i], err);
	}
	return true;
}

static bool
check_file(const glm_manifest_file *file, const char *path, glm_verify verify, glm_error *err)
{
	struct stat st;
	bool		ok = true;
	int			fd;

	if (lstat(path, &st) != 0 && errno == ENOENT)
		return glm_fail(err, GLM_BAD_FILE, "file \"%s\" is missing, but " GLM_MANIFEST " lists it",
						path);
	fd = glm_file_open(path, &st, err);
	if (fd < 0)
		return false;
	if ((uint64_t) st.st_size != file->size)
		ok = glm_fail(err, GLM_BAD_FILE,
					  "file \"%s\" has %" PRIu64 " bytes, not %" PRIu64 " as " GLM_MANIFEST " says",
					  path, (uint64_t) st.st_size, file->size);
	else if (verify != GLM_VERIFY_OFF && !is_weights(file->name))
		ok = check_hashes(file, fd, path, err);
	close(fd);
	return ok;
}

bool
glm_manifest_mismatch(const char *path, int chunk, uint64_t n, uint64_t size, const glm_hash *found,
					  const glm_hash *expected, glm_error *err)
{
	char found_text[GLM_HASH_TEXT];
	char expected_text[GLM_HASH_TEXT];
	char cut[80] = "";

	glm_hash_text(found, found_text);
	glm_hash_text(expected, expected_text);
	if (n < size)
		snprintf(cut, sizeof(cut), " is cut to %" PRIu64 " of %" PRIu64 " bytes and", n, size);
	return glm_fail(err, GLM_BAD_FILE,
					"chunk %d of file \"%s\"%s has SHA-256 %s, not %s as " GLM_MANIFEST " says",
					chunk, path, cut, found_text, expected_text);
}
