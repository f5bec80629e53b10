/*
 * charsmap.c - is a tokenizer.model safe to hand to SentencePiece?
 *
 * SentencePiece checks its models well but for one thing: the normalizer's
 * table of character replacements (precompiled_charsmap) is a double-array trie
 * that it follows without looking at its bounds.  A broken table would make
 * it read anywhere.  So here the trie is found in the file and every step that
 * a lookup can take is checked to stay inside.
 *
 * The file is a protobuf message.  Of it we read just what leads to the table, and what
 * tells the kind of the model:
 *
 *     ModelProto { 1: SentencePiece, ...  2: TrainerSpec
 *                  3: NormalizerSpec  5: NormalizerSpec (for decoding) }
 *     SentencePiece { ... 3: type }
 *     TrainerSpec { ... 3: model_type }
 *     NormalizerSpec { ... 2: bytes precompiled_charsmap }
 *     table: u32 size of trie, u32 unit[size / 4], replacements each ended by NUL
 *
 * No locks: pure functions.
 */
#include "engine/text/pieces.h"

#include <string.h>

/* Bytes of a message yet to be read. */
typedef struct cursor
{
	const uint8_t *at;
	const uint8_t *end;
} cursor;

typedef struct field
{
	uint64_t number;
	uint64_t value; /* of a varint */
	cursor	 bytes; /* of a length-delimited field, else empty */
} field;

enum
{
	WIRE_VARINT = 0,
	WIRE_FIXED64 = 1,
	WIRE_BYTES = 2,
	WIRE_FIXED32 = 5
};

/* ---- Protobuf ---------------------------------------------------------- */

static bool
read_varint(cursor *c, uint64_t *value)
{
	*value = 0;
	for (int shift = 0; shift < 64 && c->at < c->end; shift += 7)
	{
		uint8_t byte = *c->at++;

		*value |= (uint64_t) (byte & 0x7F) << shift;
		if (byte < 0x80)
			return true;
	}
	return false;
}

static bool
skip_bytes(cursor *c, uint64_t n)
{
	if (n > (uint64_t) (c->end - c->at))
		return false;
	c->at += n;
	return true;
}

static bool
read_field(cursor *c, field *f)
{
	uint64_t tag;
	uint64_t n = 0;

	if (!read_varint(c, &tag))
		return false;
	f->number = tag >> 3;
	f->value = 0;
	f->bytes = (cursor){c->at, c->at};
	switch (tag & 7)
	{
		case WIRE_VARINT:
			return read_varint(c, &f->value);
		case WIRE_FIXED64:
			return skip_bytes(c, 8);
		case WIRE_FIXED32:
			return skip_bytes(c, 4);
		case WIRE_BYTES:
			if (!read_varint(c, &n))
				return false;
			f->bytes.at = c->at;
			if (!skip_bytes(c, n))
				return false;
			f->bytes.end = c->at;
			return true;
		default: /* groups, which no such model has */
			return false;
	}
}

/* ---- The table --------------------------------------------------------- */

static uint32_t
read_u32(const uint8_t *p)
{
	return (uint32_t) p[0] | (uint32_t) p[1] << 8 | (uint32_t) p[2] << 16 | (uint32_t) p[3] << 24;
}

/*
 * A unit is a value when its top bit is set, else a node: its label (8 bits),
 * whether a value hangs on it (bit 8) and the offset of its children.  The first
 * is the root, which a lookup takes for a node without looking.
 */
static bool
check_unit(const uint8_t *units, uint32_t n, uint32_t i, size_t replacements)
{
	uint32_t unit = read_u32(units + 4 * (size_t) i);
	uint32_t child = i ^ ((unit >> 10) << ((unit & 0x200) >> 6));

	if (unit >> 31)
		return i > 0;
	/* a lookup reads the child of any byte, to compare its label */
	if ((child | 0xFF) >= n)
		return false;
	return (unit & 0x100) == 0 ||
		   (read_u32(units + 4 * (size_t) child) & 0x7FFFFFFF) < replacements;
}

static bool
check_table(cursor table)
{
	size_t	 size = (size_t) (table.end - table.at);
	uint32_t trie;

	if (size == 0) /* no replacements */
		return true;
	if (size < 4 || (trie = read_u32(table.at)) % 4 != 0 || trie >= size - 4 ||
		table.end[-1] != '\0')
		return false;
	for (uint32_t i = 0; i < trie / 4; i++)
		if (!check_unit(table.at + 4, trie / 4, i, size - 4 - trie))
			return false;
	return trie > 0;
}

static bool
check_normalizer(cursor spec)
{
	field f;

	while (spec.at < spec.end)
		if (!read_field(&spec, &f) || (f.number == 2 && !check_table(f.bytes)))
			return false;
	return true;
}

/* ---- The kind of the model ------------------------------------------------- */

/* The number of a message's field 3, the last if there are several. */
static bool
read_type(cursor message, uint64_t *type)
{
	field f;

	while (message.at < message.end)
	{
		if (!read_field(&message, &f))
			return false;
		if (f.number == 3)
			*type = f.value;
	}
	return true;
}

bool
glm_charsmap_is_plain_bpe(const void *bytes, size_t n, glm_ids *defined)
{
	enum
	{
		BPE = 2,
		USER_DEFINED = 4,
		UNUSED = 5
	};
	cursor	 model = {bytes, (const uint8_t *) bytes + n};
	uint64_t model_type = 0;
	int32_t	 id = -1;
	field	 f;

	while (model.at < model.end)
	{
		uint64_t type = 0;

		if (!read_field(&model, &f) || (f.number == 1 && !read_type(f.bytes, &type)) ||
			(f.number == 2 && !read_type(f.bytes, &model_type)))
			return false;
		id += f.number == 1;
		if (type == UNUSED || (type == USER_DEFINED && !glm_ids_add(defined, id, NULL)))
			return false;
	}
	return model_type == BPE;
}

/* ---- Entry ------------------------------------------------------------------ */

bool
glm_charsmap_check(const void *bytes, size_t n)
{
	cursor model = {bytes, bytes};
	field  f;

	if (n > 0) /* NULL is no place to count from */
		model.end = model.at + n;
	while (model.at < model.end)
		if (!read_field(&model, &f) ||
			((f.number == 3 || f.number == 5) && !check_normalizer(f.bytes)))
			return false;
	return true;
}
