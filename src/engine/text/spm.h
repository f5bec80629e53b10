/*
 * spm.h - libsentencepiece behind a C interface.
 *
 * No C++ exception and no SentencePiece type passes this line.  An opened
 * processor is immutable, so all but open and close may be called by several
 * threads at once.
 */
#ifndef GLM_SPM_H
#define GLM_SPM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C"
{
#endif

	typedef struct glm_spm glm_spm;

	typedef enum glm_spm_status
	{
		GLM_SPM_OK = 0,
		GLM_SPM_NO_MEMORY,
		GLM_SPM_FAILED
	} glm_spm_status;

	typedef enum glm_spm_kind
	{
		GLM_SPM_TEXT = 0, /* stands for its own text */
		GLM_SPM_CONTROL,  /* <s>, </s>: no text */
		GLM_SPM_UNKNOWN,
		GLM_SPM_BYTE /* <0x0A>: one byte */
	} glm_spm_kind;

	/* Takes what a call yields, piece by piece; false stops it (GLM_SPM_NO_MEMORY). */
	typedef bool (*glm_spm_take_id)(void *arg, int32_t id);
	typedef bool (*glm_spm_take_text)(void *arg, const char *text, size_t n);

	/*
 * Opens the bytes of a tokenizer.model.  On failure *out is NULL and `message`
 * (of `size` bytes) says what SentencePiece found wrong.
 */
	extern glm_spm_status glm_spm_open(const void *bytes, size_t n, glm_spm **out, char *message,
									   size_t size);
	extern void			  glm_spm_close(glm_spm *spm);

	/* Pieces there are; their ids are 0 .. size - 1. */
	extern int			  glm_spm_size(const glm_spm *spm);
	/* A piece as the vocabulary writes it ("▁the", "<0x0A>") and its kind. */
	extern glm_spm_status glm_spm_piece(const glm_spm *spm, int32_t id, glm_spm_kind *kind,
										glm_spm_take_text take, void *arg);

	/* What merging pairs goes by, or a log probability. */
	extern float glm_spm_score(const glm_spm *spm, int32_t id);

	extern glm_spm_status glm_spm_encode(const glm_spm *spm, const char *text, size_t n,
										 glm_spm_take_id take, void *arg);
	extern glm_spm_status glm_spm_decode(const glm_spm *spm, const int32_t *ids, size_t n,
										 glm_spm_take_text take, void *arg);

#ifdef __cplusplus
}
#endif

#endif /* GLM_SPM_H */
