/*
 * pack_file.c - one file of a packed directory, written front to back.
 *
 * The SHA-256 of each chunk is computed from what passes by, so that nothing is
 * read again.  What was written is sent on its way to the disk a FLUSH at a time,
 * so that the flush at the end, which nothing can interrupt, does not have
 * gigabytes to do.  No locks: a file belongs to the thread that writes it.
 */
#include "engine/quantize/pack_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/hash.h"

#define FLUSH ((uint64_t) 32 << 20)

static bool
digest_failed(glm_error *err, const char *path)
{
	return glm_fail(err, GLM_INTERNAL, "the SHA-256 of file \"%s\" cannot be computed", path);
}

bool
glm_pack_file_open(glm_pack_file *out, const glm_pack_dir *dir, const char *name, glm_error *err)
{
	if (asprintf(&out->path, "%s/%s", dir->path, name) < 0)
	{
		out->path = NULL;
		return glm_no_memory(err);
	}
	out->name = out->path + strlen(dir->path) + 1;
	out->size = 0;
	out->chunks = json_array();
	out->digest = EVP_MD_CTX_new();
	if (out->chunks == NULL || out->digest == NULL)
		return glm_no_memory(err);
	if (EVP_DigestInit_ex(out->digest, EVP_sha256(), NULL) != 1)
		return digest_failed(err, out->path);
	out->fd =
		openat(dir->fd, out->name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
	return out->fd >= 0 || glm_pack_fail(err, "create file", out->path);
}

void
glm_pack_file_free(glm_pack_file *out)
{
	if (out->fd >= 0)
		close(out->fd);
	EVP_MD_CTX_free(out->digest);
	json_decref(out->chunks);
	free(out->path);
	*out = (glm_pack_file){.fd = -1};
}

/* A chunk is complete, or the file is: keeps its hash. */
static bool
end_chunk(glm_pack_file *out, glm_error *err)
{
	glm_hash hash;
	char	 text[GLM_HASH_TEXT];

	if (EVP_DigestFinal_ex(out->digest, hash.byte, NULL) != 1 ||
		EVP_DigestInit_ex(out->digest, EVP_sha256(), NULL) != 1)
		return digest_failed(err, out->path);
	glm_hash_text(&hash, text);
	return json_array_append_new(out->chunks, json_string(text)) == 0 || glm_no_memory(err);
}

static bool
write_all(const glm_pack_file *out, const uint8_t *bytes, size_t n, glm_error *err)
{
	while (n > 0)
	{
		ssize_t written = write(out->fd, bytes, n);

		if (GLM_INJECT("pack-write"))
		{
			written = -1;
			errno = ENOSPC;
		}
		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0)
			return glm_pack_fail(err, "write file", out->path);
		bytes += written;
		n -= (size_t) written;
	}
	return true;
}

/* Starts writing what is complete; that it is on disk only fsync() promises. */
static void
start_flush(const glm_pack_file *out, uint64_t before)
{
	uint64_t from = before / FLUSH * FLUSH;
	uint64_t to = out->size / FLUSH * FLUSH;

	if (to > from)
		(void) sync_file_range(out->fd, (off64_t) from, (off64_t) (to - from),
							   SYNC_FILE_RANGE_WRITE);
}

bool
glm_pack_file_write(glm_pack_file *out, const void *bytes, size_t n, glm_error *err)
{
	const uint8_t *at = bytes;
	uint64_t	   before = out->size;

	if (!write_all(out, at, n, err))
		return false;
	while (n > 0)
	{
		uint64_t room = GLM_CHUNK_SIZE - out->size % GLM_CHUNK_SIZE;
		size_t	 piece = n < room ? n : (size_t) room;

		if (EVP_DigestUpdate(out->digest, at, piece) != 1)
			return digest_failed(err, out->path);
		out->size += piece;
		at += piece;
		n -= piece;
		if (piece == room && !end_chunk(out, err))
			return false;
	}
	start_flush(out, before);
	return true;
}

static bool
flush(int fd)
{
	if (GLM_INJECT("pack-sync"))
	{
		errno = EIO;
		return false;
	}
	return fsync(fd) == 0;
}

bool
glm_pack_file_close(glm_pack_file *out, json_t *files, glm_error *err)
{
	json_t *entry;
	int		fd = out->fd;

	if (out->size % GLM_CHUNK_SIZE != 0 && !end_chunk(out, err))
		return false;
	if (!flush(fd))
		return glm_pack_fail(err, "flush file", out->path);
	out->fd = -1;
	if (close(fd) != 0)
		return glm_pack_fail(err, "close file", out->path);
	entry = json_pack("{s:s, s:I, s:O}", "name", out->name, "size", (json_int_t) out->size,
					  "chunks", out->chunks);
	if (json_array_append_new(files, entry) != 0)
		return glm_no_memory(err);
	glm_pack_file_free(out);
	return true;
}
