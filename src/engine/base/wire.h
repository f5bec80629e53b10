/*
 * wire.h - messages between the processes of a host: pieces of requests one way, events the
 * other.  Neither side believes the other.
 */
#ifndef GLM_WIRE_H
#define GLM_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/drawing.h"
#include "engine/base/status.h"

/*
 * So many bytes of a request's block, in order, from the first one on.  A block goes in
 * pieces so that neither side needs a buffer for a whole one, and that the rest of one which
 * nobody wants any more need not be sent.
 */
typedef struct glm_fragment
{
	uint64_t id;	 /* of the request */
	uint32_t size;	 /* of its block */
	uint32_t offset; /* of this piece in it */
	char	 bytes[];
} glm_fragment;

#define GLM_FRAGMENT_HEADER offsetof(glm_fragment, bytes)

/* Is this message of `size` bytes a piece of what may be a request?  Thread-safe, as all here. */
extern bool glm_fragment_check(const void *message, size_t size);

/*
 * Puts a piece that was checked into its block, of which `*received` bytes have come; false
 * when it is not the next one.
 */
extern bool glm_fragment_put(const glm_fragment *piece, size_t size, void *block,
							 uint32_t block_size, uint32_t *received);

struct glm_event;

/*
 * Makes an ERROR event, without id and ticket.  The event has room for a payload of
 * GLM_ERROR_PAYLOAD bytes.
 */
#define GLM_ERROR_PAYLOAD sizeof(glm_error)
extern void glm_event_set_error(struct glm_event *event, const glm_error *err);

/* Is this message of `size` bytes an event we may touch? */
extern bool glm_event_check(const void *message, size_t size);

/*
 * Takes the next token of what was told, and its text, from *at; false at the end, or where
 * what is left (*at != end) is no token.
 */
extern bool glm_told_next(const char **at, const char *end, glm_told *told, const char **text);

#endif /* GLM_WIRE_H */
