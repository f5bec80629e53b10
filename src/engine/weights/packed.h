/*
 * packed.h - quantized weights: the layout of a tensor and of a directory.
 *
 * A weight W [rows, cols] is quantized in groups of `group` columns of one row:
 *
 *     W[r, k] ~ scale[r, k / group] * (code[r, k] - zero[r, k / group] / GLM_ZERO_ONE)
 *
 * INT4: code 0 .. 15, zero 0 .. 255 sixteenths of a step.
 * INT8: code 0 .. 255, zero always 128 * 16 in effect and not stored.
 * scale is fp16.  That is 4.375 bits a weight at group 64 (INT8: 8.25).
 *
 * Tiles.  Rows are taken 16 at a time (GLM_TILE_ROWS), the last tile filled up
 * with rows of scale 0; the columns of the last group are filled up with code 0
 * and must meet activations of 0.  A tile of G = ceil(cols / group) groups is
 *
 *     scale  fp16 [G][16]
 *     zero   u8   [G][16]                      INT4 only
 *     (up to a multiple of 64 bytes)
 *     code   [G * group / step][64 bytes]      step = 8 (INT4) or 4 (INT8) columns
 *
 * One 64-byte vector of codes serves 16 rows at once, 4 bytes a row, as the
 * dot-product instructions want it (lane = row, 4 columns a lane):
 *     INT8: byte [4 r + j] = code[r, k + j]
 *     INT4: byte [4 r + j] = code[r, k + j] | code[r, k + 4 + j] << 4
 * A tensor is its tiles one behind the other, each on a multiple of 64 bytes.
 *
 * Files.  A packed directory holds config.json and the tokenizer's files as
 * they were, safetensors files, and GLM_MANIFEST.  In the safetensors files data
 * begins on a page boundary and every tensor on a multiple of 64 bytes.  A
 * packed tensor has its weight's name, dtype U8 and shape [tiles, tile bytes];
 * __metadata__ says under "packed.<name>" what it is: "int4 64 <rows> <cols>".
 * __metadata__ also has "format": "chatglm-packed", "version": "1", "layout":
 * GLM_PACKED_LAYOUT.  A reader refuses what it does not know.  Other tensors (norms,
 * biases, what stays wide) are plain.  What odd sizes leave free before the next
 * multiple of 64 is a tensor GLM_PADDING<n>, as the format allows no holes; it
 * begins where it must.
 *
 * The manifest is JSON: {"format": "chatglm-packed", "version": 1, "layout": ...,
 * "quantization": "int4" or "int8", "group_size": 64, "method": "rtn",
 * "bits_per_weight": 4.4, "chunk_size": 134217728, "files": [{"name": ...,
 * "size": bytes, "chunks": [sha256 in hex, one a chunk of chunk_size bytes]}]}.
 * "files" lists every other file of the directory.
 */
#ifndef GLM_PACKED_H
#define GLM_PACKED_H

#include "engine/weights/weights.h"

#define GLM_MANIFEST "chatglm.json"
#define GLM_PACKED_FORMAT "chatglm-packed"
#define GLM_PACKED_VERSION 1
#define GLM_PACKED_LAYOUT "tile16"
#define GLM_PADDING "padding."
#define GLM_CHUNK_SIZE ((uint64_t) 128 << 20)

#define GLM_TILE_ROWS 16
#define GLM_ZERO_ONE 16 /* a zero point counts sixteenths of a step */

static inline bool
glm_is_packed(glm_dtype dtype)
{
	return dtype == GLM_Q4 || dtype == GLM_Q8;
}

static inline bool
glm_packed_group_known(int64_t group)
{
	return group == 32 || group == 64 || group == 128;
}

/* Groups of a row. */
static inline size_t
glm_packed_groups(size_t cols, size_t group)
{
	return (cols + group - 1) / group;
}

static inline size_t
glm_packed_tiles(size_t rows)
{
	return (rows + GLM_TILE_ROWS - 1) / GLM_TILE_ROWS;
}

/* Bytes of scales and zero points in front of a tile's codes. */
static inline size_t
glm_packed_head(glm_dtype dtype, size_t cols, size_t group)
{
	size_t bytes = glm_packed_groups(cols, group) * GLM_TILE_ROWS * (dtype == GLM_Q4 ? 3 : 2);

	return (bytes + 63) / 64 * 64;
}

static inline size_t
glm_packed_tile_bytes(glm_dtype dtype, size_t cols, size_t group)
{
	size_t codes = glm_packed_groups(cols, group) * group * GLM_TILE_ROWS;

	return glm_packed_head(dtype, cols, group) + (dtype == GLM_Q4 ? codes / 2 : codes);
}

static inline size_t
glm_packed_bytes(glm_dtype dtype, size_t rows, size_t cols, size_t group)
{
	return glm_packed_tiles(rows) * glm_packed_tile_bytes(dtype, cols, group);
}

/* ---- layout.c: codes in and out of tiles ------------------------------------- */

/*
 * Writes one tile.  code [n_rows, groups * group] (columns past `cols` are 0),
 * scale [n_rows, groups] as fp16 bits, zero [n_rows, groups] (NULL for INT8);
 * n_rows <= 16, the missing rows are filled up.
 */
extern void glm_tile_write(uint8_t *tile, glm_dtype dtype, int n_rows, int cols, int group,
						   const uint8_t *code, const uint16_t *scale, const uint8_t *zero);

/*
 * One row of a packed tensor as fp32: y [cols].  Each value is exactly
 * scale * (code * 16 - zero) / 16 with one rounding.  The reference.
 */
extern void glm_packed_row(float *y, const glm_tensor *t, int64_t row);

#endif /* GLM_PACKED_H */
