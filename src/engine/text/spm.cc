/*
 * spm.cc - libsentencepiece behind a C interface; see spm.h.
 *
 * The one C++ file of the engine, and a thin one: it turns statuses and
 * exceptions into glm_spm_status and lends strings and ids to callbacks, so
 * that no memory of one language is freed by the other.
 */
#include "engine/text/spm.h"

#include <cstdio>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include <sentencepiece_processor.h>

struct glm_spm
{
	sentencepiece::SentencePieceProcessor processor;
};

/* Runs a body that returns a status; what it throws becomes one. */
template <typename Body>
static glm_spm_status
guard(Body body) noexcept
{
	try
	{
		return body();
	}
	catch (const std::bad_alloc &)
	{
		return GLM_SPM_NO_MEMORY;
	}
	catch (...)
	{
		return GLM_SPM_FAILED;
	}
}

glm_spm_status
glm_spm_open(const void *bytes, size_t n, glm_spm **out, char *message, size_t size)
{
	*out = nullptr;
	std::snprintf(message, size, "cannot be parsed");
	return guard(
		[&]
		{
			auto spm = std::make_unique<glm_spm>();
			auto status = spm->processor.LoadFromSerializedProto(
				absl::string_view(static_cast<const char *>(bytes), n));

			if (!status.ok())
			{
				std::snprintf(message, size, "%s", status.error_message());
				return GLM_SPM_FAILED;
			}
			*out = spm.release();
			return GLM_SPM_OK;
		});
}

void
glm_spm_close(glm_spm *spm)
{
	delete spm;
}

int
glm_spm_size(const glm_spm *spm)
{
	return spm->processor.GetPieceSize();
}

static glm_spm_kind
kind_of(const sentencepiece::SentencePieceProcessor &processor, int id)
{
	if (processor.IsControl(id))
		return GLM_SPM_CONTROL;
	if (processor.IsUnknown(id))
		return GLM_SPM_UNKNOWN;
	return processor.IsByte(id) ? GLM_SPM_BYTE : GLM_SPM_TEXT;
}

glm_spm_status
glm_spm_piece(const glm_spm *spm, int32_t id, glm_spm_kind *kind, glm_spm_take_text take, void *arg)
{
	return guard(
		[&]
		{
			const std::string &piece = spm->processor.IdToPiece(id);

			*kind = kind_of(spm->processor, id);
			return take(arg, piece.data(), piece.size()) ? GLM_SPM_OK : GLM_SPM_NO_MEMORY;
		});
}

float
glm_spm_score(const glm_spm *spm, int32_t id)
{
	return spm->processor.GetScore(id);
}

glm_spm_status
glm_spm_encode(const glm_spm *spm, const char *text, size_t n, glm_spm_take_id take, void *arg)
{
	return guard(
		[&]
		{
			std::vector<int> ids;

			if (!spm->processor.Encode(absl::string_view(text, n), &ids).ok())
				return GLM_SPM_FAILED;
			for (int id : ids)
				if (!take(arg, id))
					return GLM_SPM_NO_MEMORY;
			return GLM_SPM_OK;
		});
}

glm_spm_status
glm_spm_decode(const glm_spm *spm, const int32_t *ids, size_t n, glm_spm_take_text take, void *arg)
{
	return guard(
		[&]
		{
			std::vector<int> list(ids, ids + n);
			std::string		 text;

			if (!spm->processor.Decode(list, &text).ok())
				return GLM_SPM_FAILED;
			return take(arg, text.data(), text.size()) ? GLM_SPM_OK : GLM_SPM_NO_MEMORY;
		});
}
