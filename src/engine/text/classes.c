/*
 * classes.c - what characters are to words: a table of the blocks of Unicode.
 *
 * Words need fewer distinctions than Unicode has: what is not listed is a letter, so that
 * new scripts are words too.  The table is ours and not the C library's, whose answers
 * differ between systems: a column that is generated from texts must not change with one.
 */
#include "engine/text/units.h"

typedef struct class_range
{
	uint32_t from;
	uint32_t to;
	glm_class class;
} class_range;

/* By rising characters. */
static const class_range ranges[] = {
	{0x00, 0x08, GLM_CLASS_OTHER},
	{0x09, 0x0D, GLM_CLASS_SPACE},
	{0x0E, 0x1F, GLM_CLASS_OTHER},
	{0x20, 0x20, GLM_CLASS_SPACE},
	{0x21, 0x2F, GLM_CLASS_OTHER},
	{0x30, 0x39, GLM_CLASS_DIGIT},
	{0x3A, 0x40, GLM_CLASS_OTHER},
	{0x5B, 0x5E, GLM_CLASS_OTHER}, /* the low line between is a letter */
	{0x60, 0x60, GLM_CLASS_OTHER},
	{0x7B, 0x84, GLM_CLASS_OTHER},
	{0x85, 0x85, GLM_CLASS_SPACE},
	{0x86, 0x9F, GLM_CLASS_OTHER},
	{0xA0, 0xA0, GLM_CLASS_SPACE},
	{0xA1, 0xA9, GLM_CLASS_OTHER},
	{0xAB, 0xAC, GLM_CLASS_OTHER},
	{0xAD, 0xAD, GLM_CLASS_EXTEND},
	{0xAE, 0xB4, GLM_CLASS_OTHER},
	{0xB6, 0xB9, GLM_CLASS_OTHER},
	{0xBB, 0xBF, GLM_CLASS_OTHER},
	{0xD7, 0xD7, GLM_CLASS_OTHER},
	{0xF7, 0xF7, GLM_CLASS_OTHER},
	{0x300, 0x36F, GLM_CLASS_EXTEND},
	{0x37E, 0x37E, GLM_CLASS_OTHER},
	{0x387, 0x387, GLM_CLASS_OTHER},
	{0x483, 0x489, GLM_CLASS_EXTEND},
	{0x55A, 0x55F, GLM_CLASS_OTHER}, /* Armenian */
	{0x589, 0x58F, GLM_CLASS_OTHER},
	{0x591, 0x5BD, GLM_CLASS_EXTEND}, /* Hebrew */
	{0x5BE, 0x5BE, GLM_CLASS_OTHER},
	{0x5BF, 0x5BF, GLM_CLASS_EXTEND},
	{0x5C0, 0x5C0, GLM_CLASS_OTHER},
	{0x5C1, 0x5C2, GLM_CLASS_EXTEND},
	{0x5C3, 0x5C3, GLM_CLASS_OTHER},
	{0x5C4, 0x5C5, GLM_CLASS_EXTEND},
	{0x5C6, 0x5C6, GLM_CLASS_OTHER},
	{0x5F3, 0x5F4, GLM_CLASS_OTHER},
	{0x600, 0x60F, GLM_CLASS_OTHER}, /* Arabic */
	{0x610, 0x61A, GLM_CLASS_EXTEND},
	{0x61B, 0x61F, GLM_CLASS_OTHER},
	{0x64B, 0x65F, GLM_CLASS_EXTEND},
	{0x660, 0x669, GLM_CLASS_DIGIT},
	{0x66A, 0x66D, GLM_CLASS_OTHER},
	{0x6D4, 0x6D4, GLM_CLASS_OTHER},
	{0x6F0, 0x6F9, GLM_CLASS_DIGIT},
	{0x700, 0x70D, GLM_CLASS_OTHER},
	{0x964, 0x965, GLM_CLASS_OTHER}, /* Devanagari */
	{0x966, 0x96F, GLM_CLASS_DIGIT},
	{0xE3F, 0xE3F, GLM_CLASS_OTHER}, /* Thai */
	{0xE4F, 0xE4F, GLM_CLASS_OTHER},
	{0xE50, 0xE59, GLM_CLASS_DIGIT},
	{0xE5A, 0xE5B, GLM_CLASS_OTHER},
	{0x104A, 0x104F, GLM_CLASS_OTHER}, /* Myanmar */
	{0x1361, 0x1368, GLM_CLASS_OTHER}, /* Ethiopic */
	{0x1680, 0x1680, GLM_CLASS_SPACE},
	{0x17D4, 0x17DA, GLM_CLASS_OTHER}, /* Khmer */
	{0x1AB0, 0x1AFF, GLM_CLASS_EXTEND},
	{0x1DC0, 0x1DFF, GLM_CLASS_EXTEND},
	{0x2000, 0x200B, GLM_CLASS_SPACE},
	{0x200C, 0x200F, GLM_CLASS_EXTEND},
	{0x2010, 0x2027, GLM_CLASS_OTHER},
	{0x2028, 0x2029, GLM_CLASS_SPACE},
	{0x202A, 0x202E, GLM_CLASS_EXTEND},
	{0x202F, 0x202F, GLM_CLASS_SPACE},
	{0x2030, 0x205E, GLM_CLASS_OTHER},
	{0x205F, 0x205F, GLM_CLASS_SPACE},
	{0x2060, 0x206F, GLM_CLASS_EXTEND},
	{0x207A, 0x207E, GLM_CLASS_OTHER},
	{0x208A, 0x208E, GLM_CLASS_OTHER},
	{0x20A0, 0x20CF, GLM_CLASS_OTHER},
	{0x20D0, 0x20FF, GLM_CLASS_EXTEND},
	{0x2190, 0x2BFF, GLM_CLASS_OTHER}, /* arrows, mathematics, boxes, dingbats */
	{0x2E00, 0x2E7F, GLM_CLASS_OTHER},
	{0x2E80, 0x2FDF, GLM_CLASS_ALONE}, /* radicals */
	{0x2FF0, 0x2FFF, GLM_CLASS_OTHER},
	{0x3000, 0x3000, GLM_CLASS_SPACE},
	{0x3001, 0x3004, GLM_CLASS_OTHER},
	{0x3005, 0x3007, GLM_CLASS_ALONE},
	{0x3008, 0x3020, GLM_CLASS_OTHER},
	{0x3021, 0x3029, GLM_CLASS_ALONE},
	{0x302A, 0x302F, GLM_CLASS_EXTEND},
	{0x3030, 0x3030, GLM_CLASS_OTHER},
	{0x3031, 0x3035, GLM_CLASS_KATAKANA},
	{0x3036, 0x3037, GLM_CLASS_OTHER},
	{0x3038, 0x303C, GLM_CLASS_ALONE},
	{0x303D, 0x303F, GLM_CLASS_OTHER},
	{0x3041, 0x3096, GLM_CLASS_ALONE}, /* Hiragana */
	{0x3099, 0x309A, GLM_CLASS_EXTEND},
	{0x309B, 0x309C, GLM_CLASS_OTHER},
	{0x309D, 0x309F, GLM_CLASS_ALONE},
	{0x30A0, 0x30A0, GLM_CLASS_OTHER},
	{0x30A1, 0x30FA, GLM_CLASS_KATAKANA},
	{0x30FB, 0x30FB, GLM_CLASS_OTHER},
	{0x30FC, 0x30FF, GLM_CLASS_KATAKANA},
	{0x3190, 0x319F, GLM_CLASS_OTHER},
	{0x31C0, 0x31EF, GLM_CLASS_OTHER},
	{0x31F0, 0x31FF, GLM_CLASS_KATAKANA},
	{0x3200, 0x33FF, GLM_CLASS_OTHER},
	{0x3400, 0x4DBF, GLM_CLASS_ALONE},
	{0x4DC0, 0x4DFF, GLM_CLASS_OTHER},
	{0x4E00, 0x9FFF, GLM_CLASS_ALONE},
	{0xD800, 0xF8FF, GLM_CLASS_OTHER},
	{0xF900, 0xFAFF, GLM_CLASS_ALONE},
	{0xFD3E, 0xFD3F, GLM_CLASS_OTHER},
	{0xFE00, 0xFE0F, GLM_CLASS_EXTEND},
	{0xFE10, 0xFE19, GLM_CLASS_OTHER},
	{0xFE20, 0xFE2F, GLM_CLASS_EXTEND},
	{0xFE30, 0xFE6F, GLM_CLASS_OTHER},
	{0xFEFF, 0xFEFF, GLM_CLASS_EXTEND},
	{0xFF01, 0xFF0F, GLM_CLASS_OTHER}, /* full width */
	{0xFF10, 0xFF19, GLM_CLASS_DIGIT},
	{0xFF1A, 0xFF20, GLM_CLASS_OTHER},
	{0xFF3B, 0xFF3E, GLM_CLASS_OTHER},
	{0xFF40, 0xFF40, GLM_CLASS_OTHER},
	{0xFF5B, 0xFF65, GLM_CLASS_OTHER},
	{0xFF66, 0xFF9D, GLM_CLASS_KATAKANA},
	{0xFF9E, 0xFF9F, GLM_CLASS_EXTEND},
	{0xFFE0, 0xFFFF, GLM_CLASS_OTHER},
	{0x1B000, 0x1B000, GLM_CLASS_KATAKANA},
	{0x1B001, 0x1B11F, GLM_CLASS_ALONE},
	{0x1D000, 0x1D3FF, GLM_CLASS_OTHER},
	{0x1F000, 0x1F0FF, GLM_CLASS_OTHER},
	{0x1F300, 0x1FAFF, GLM_CLASS_OTHER}, /* emoji */
	{0x20000, 0x3FFFF, GLM_CLASS_ALONE},
	{0xE0000, 0xE0FFF, GLM_CLASS_EXTEND},
	{0xF0000, 0x10FFFF, GLM_CLASS_OTHER},
};

glm_class
glm_class_of(uint32_t character)
{
	size_t low = 0, high = sizeof(ranges) / sizeof(*ranges);

	while (low < high)
	{
		size_t middle = (low + high) / 2;

		if (character > ranges[middle].to)
			low = middle + 1;
		else
			high = middle;
	}
	if (low < sizeof(ranges) / sizeof(*ranges) && character >= ranges[low].from)
		return ranges[low].class;
	return GLM_CLASS_LETTER;
}

uint32_t
glm_character(const char *text, size_t n, int *length)
{
	const unsigned char *u = (const unsigned char *) text;
	uint32_t			 c = u[0];

	*length = glm_utf8_length(text, n);
	if (*length == 2)
		c = (u[0] & 0x1Fu) << 6 | (u[1] & 0x3Fu);
	else if (*length == 3)
		c = (u[0] & 0x0Fu) << 12 | (u[1] & 0x3Fu) << 6 | (u[2] & 0x3Fu);
	else if (*length == 4)
		c = (u[0] & 0x07u) << 18 | (u[1] & 0x3Fu) << 12 | (u[2] & 0x3Fu) << 6 | (u[3] & 0x3Fu);
	else if (*length < 1)
		*length = 1; /* not valid: that byte alone */
	return c;
}
