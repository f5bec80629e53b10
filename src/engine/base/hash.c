/*
 * hash.c - SHA-256 of bytes, by OpenSSL, which uses the CPU's SHA
 * instructions where there are some.
 *
 * Files are read, not mapped: one that gets shorter meanwhile then gives fewer
 * bytes instead of a SIGBUS.  The pieces are small enough to stay in the second
 * level cache between the copy and the hash, which hides most of the copy.
 *
 * No state: all functions are thread-safe.
 */
#include "engine/base/hash.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "engine/base/file.h"

#define PIECE ((size_t) 256 * 1024)

void
glm_hash_text(const glm_hash *hash, char text[GLM_HASH_TEXT])
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < sizeof(hash->byte); i++)
	{
		*text++ = digits[hash->byte[i] >> 4];
		*text++ = digits[hash->byte[i] & 15];
	}
	*text = '\0';
}

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool
glm_hash_parse(glm_hash *hash, const char *text)
{
	if (strlen(text) != GLM_HASH_TEXT - 1)
		return false;
	for (size_t i = 0; i < sizeof(hash->byte); i++)
	{
		int high = hex_digit(text[2 * i]);
		int low = hex_digit(text[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		hash->byte[i] = (uint8_t) (high << 4 | low);
	}
	return true;
}

bool
glm_hash_memory(const void *bytes, size_t n, glm_hash *hash, glm_error *err)
{
	return EVP_Digest(bytes, n, hash->byte, NULL, EVP_sha256(), NULL) == 1 ||
		   glm_fail(err, GLM_INTERNAL, "a SHA-256 cannot be computed");
}

/* Feeds the bytes to ctx; *n counts them. */
static bool
digest_file(EVP_MD_CTX *ctx, uint8_t *piece, int fd, const char *path, uint64_t offset,
			uint64_t length, uint64_t *n, glm_error *err)
{
	while (*n < length)
	{
		size_t want = length - *n < PIECE ? (size_t) (length - *n) : PIECE;
		size_t got;

		if (!glm_file_pread(fd, path, piece, want, offset + *n, &got, err))
			return false;
		if (got > 0 && EVP_DigestUpdate(ctx, piece, got) != 1)
			return glm_fail(err, GLM_INTERNAL, "the SHA-256 of file \"%s\" cannot be computed",
							path);
		if (!glm_pause(err))
			return false;
		*n += got;
		if (got < want)
			break;
	}
	return true;
}

bool
glm_hash_file(int fd, const char *path, uint64_t offset, uint64_t length, glm_hash *hash,
			  uint64_t *n, glm_error *err)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	uint8_t	   *piece = malloc(PIECE);
	bool		ok = false;

	*n = 0;
	if (ctx == NULL || piece == NULL)
		glm_no_memory(err);
	else if (EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) != 1)
		glm_fail(err, GLM_INTERNAL, "OpenSSL has no SHA-256");
	else
		ok = digest_file(ctx, piece, fd, path, offset, length, n, err) &&
			 (EVP_DigestFinal_ex(ctx, hash->byte, NULL) == 1 ||
			  glm_fail(err, GLM_INTERNAL, "the SHA-256 of file \"%s\" cannot be computed", path));
	free(piece);
	EVP_MD_CTX_free(ctx);
	return ok;
}
