/*
 * model_files.c - which files a model is made of: their identity, and the hash of their contents.
 *
 * What shapes an answer is config.json, tokenizer.model, tokenizer_config.json (it may say
 * what kind of ChatGLM it is), all *.safetensors with their index, and the manifest of a
 * packed directory, which has the hashes of all others.  Whatever else lies in the directory
 * is not looked at.
 *
 * The hash of a packed directory is that of its manifest, so it takes no time.  Of another
 * one it is that of the lines that
 *
 *		sha256sum config.json model.safetensors tokenizer.model tokenizer_config.json
 *
 * prints, in the order of the bytes of the names.  An option that changes the arithmetic
 * is one more line behind that.
 *
 * No state: all functions are thread-safe.
 */
#include "engine/model/model_files.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/file.h"
#include "engine/base/hash.h"
#include "engine/model/model_options.h"
#include "engine/weights/packed.h"

#define CONFIG_FILE "config.json"
#define MAX_PARTS 1024

/* The names of a directory's files that count, by the order of their bytes. */
typedef struct parts
{
	const char *dir;
	char	   *name[MAX_PARTS];
	int			n;
} parts;

/* Does something with a file: adds it to *out. */
typedef bool (*add_part)(glm_buf *out, const char *path, const char *name, glm_error *err);

/* ---- Which files ------------------------------------------------------------------ */

static bool
has_ending(const char *name, const char *ending)
{
	size_t n = strlen(name);
	size_t m = strlen(ending);

	return n >= m && strcmp(name + n - m, ending) == 0;
}

static bool
is_part(const char *name)
{
	static const char *const names[] = {CONFIG_FILE, "tokenizer.model", "tokenizer_config.json",
										GLM_MANIFEST};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(name, names[i]) == 0)
			return true;
	return name[0] != '.' &&
		   (has_ending(name, ".safetensors") || has_ending(name, ".safetensors.index.json"));
}

static int
compare_parts(const void *a, const void *b)
{
	return strcmp(*(char *const *) a, *(char *const *) b);
}

static bool
has_part(const parts *p, const char *name)
{
	return bsearch(&name, p->name, (size_t) p->n, sizeof(p->name[0]), compare_parts) != NULL;
}

static void
free_parts(parts *p)
{
	for (int i = 0; i < p->n; i++)
		free(p->name[i]);
	free(p);
}

static bool
add_name(parts *p, const char *name, glm_error *err)
{
	if (p->n == MAX_PARTS)
		return glm_fail(err, GLM_UNSUPPORTED, "directory \"%s\" has more than %d files of a model",
						p->dir, MAX_PARTS);
	p->name[p->n] = strdup(name);
	return p->name[p->n++] != NULL || glm_no_memory(err);
}

static bool
read_parts(parts *p, glm_error *err)
{
	DIR			  *dir = opendir(p->dir);
	struct dirent *item;
	bool		   ok = true;

	if (dir == NULL)
		return glm_file_fail(err, "list", p->dir);
	while (ok && (item = readdir(dir)) != NULL)
		ok = !is_part(item->d_name) || add_name(p, item->d_name, err);
	closedir(dir);
	/* what strdup() could not copy is last */
	if (!ok && p->n > 0 && p->name[p->n - 1] == NULL)
		p->n--;
	qsort(p->name, (size_t) p->n, sizeof(p->name[0]), compare_parts);
	if (ok && !has_part(p, CONFIG_FILE))
		return glm_fail(err, GLM_NO_FILE, "directory \"%s\" holds no " CONFIG_FILE, p->dir);
	return ok;
}

static parts *
find_parts(const char *dir, glm_error *err)
{
	parts *p = calloc(1, sizeof(*p));

	if (p == NULL)
	{
		glm_no_memory(err);
		return NULL;
	}
	p->dir = dir;
	if (read_parts(p, err))
		return p;
	free_parts(p);
	return NULL;
}

/* ---- Texts about them ---------------------------------------------------------------- */

static bool
add_named(const parts *p, const char *name, add_part add, glm_buf *out, glm_error *err)
{
	char *path;
	bool  ok;

	if (asprintf(&path, "%s/%s", p->dir, name) < 0)
		return glm_no_memory(err);
	ok = add(out, path, name, err);
	free(path);
	return ok;
}

/* The SHA-256, in hex, of what add() makes of all files. */
static bool
hash_parts(const parts *p, add_part add, char hex[GLM_MODEL_HASH], glm_error *err)
{
	glm_buf	 text = {0};
	glm_hash hash;
	bool	 ok = true;

	for (int i = 0; ok && i < p->n; i++)
		ok = add_named(p, p->name[i], add, &text, err);
	if (ok && text.failed)
		ok = glm_no_memory(err);
	ok = ok && glm_hash_memory(text.data, text.length, &hash, err);
	if (ok)
		glm_hash_text(&hash, hex);
	glm_buf_free(&text);
	return ok;
}

/* Links are followed, as where the file is opened. */
static bool
add_stat(glm_buf *out, const char *path, const char *name, glm_error *err)
{
	struct stat st;
	char		line[160];

	if (stat(path, &st) != 0)
		return glm_file_fail(err, "examine", path);
	snprintf(line, sizeof(line), " %ju %ju %jd %jd.%09ld\n", (uintmax_t) st.st_dev,
			 (uintmax_t) st.st_ino, (intmax_t) st.st_size, (intmax_t) st.st_mtim.tv_sec,
			 st.st_mtim.tv_nsec);
	glm_buf_puts(out, name);
	glm_buf_puts(out, line);
	return true;
}

static bool
hash_contents(const char *path, char hex[GLM_MODEL_HASH], glm_error *err)
{
	struct stat st;
	int			fd = glm_file_open(path, &st, err);
	glm_hash	hash;
	uint64_t	n;
	bool		ok;

	if (fd < 0)
		return false;
	ok = glm_hash_file(fd, path, 0, UINT64_MAX, &hash, &n, err);
	close(fd);
	if (ok)
		glm_hash_text(&hash, hex);
	return ok;
}

static bool
add_contents(glm_buf *out, const char *path, const char *name, glm_error *err)
{
	char hex[GLM_MODEL_HASH];

	if (!hash_contents(path, hex, err))
		return false;
	glm_buf_puts(out, hex);
	glm_buf_puts(out, "  ");
	glm_buf_puts(out, name);
	glm_buf_puts(out, "\n");
	return true;
}

/* The hash of a file is all of the text. */
static bool
hash_manifest(const parts *p, char hex[GLM_MODEL_HASH], glm_error *err)
{
	char *path;
	bool  ok;

	if (asprintf(&path, "%s/%s", p->dir, GLM_MANIFEST) < 0)
		return glm_no_memory(err);
	ok = hash_contents(path, hex, err);
	free(path);
	return ok;
}

/* ---- Entry points -------------------------------------------------------------------- */

bool
glm_same_identity(const char *a, const char *b)
{
	return a[0] != '\0' && strcmp(a, b) == 0;
}

bool
glm_model_identity(const char *path, char identity[GLM_MODEL_HASH], bool *packed, glm_error *err)
{
	parts *p = find_parts(path, err);
	bool   ok;

	identity[0] = '\0';
	if (p == NULL)
		return false;
	*packed = has_part(p, GLM_MANIFEST);
	ok = hash_parts(p, add_stat, identity, err);
	free_parts(p);
	return ok;
}

bool
glm_model_hash(const char *path, char hash[GLM_MODEL_HASH], glm_error *err)
{
	parts *p = find_parts(path, err);
	bool   ok;

	if (p == NULL)
		return false;
	ok = has_part(p, GLM_MANIFEST) ? hash_manifest(p, hash, err)
								   : hash_parts(p, add_contents, hash, err);
	free_parts(p);
	return ok;
}

bool
glm_model_hash_with(const char *options, char hash[GLM_MODEL_HASH], glm_error *err)
{
	glm_open_options read = {.rope = GLM_ROPE_BY_NAME};
	char			 text[GLM_MODEL_HASH + 32];
	glm_hash		 digest;
	int				 n;

	if (!glm_model_options_read(&read, options, err))
		return false;
	if (read.rope == GLM_ROPE_BY_NAME)
		return true;
	n = snprintf(text, sizeof(text), "%s  rope=%s\n", hash,
				 read.rope == GLM_ROPE_CHATGLM2 ? "chatglm2" : "chatglm3");
	if (!glm_hash_memory(text, (size_t) n, &digest, err))
		return false;
	glm_hash_text(&digest, hash);
	return true;
}
