/*
 * pick_room.h - memory for what the picks of a pass point to.
 */
#ifndef GLM_PICK_ROOM_H
#define GLM_PICK_ROOM_H

#include <stddef.h>

/* Of one home; used anew by each pass. */
typedef struct glm_pick_room
{
	char  *memory; /* [bytes] */
	size_t bytes, used;
} glm_pick_room;

/* NULL: there is no room for so many more. */
static inline void *
glm_pick_room_take(glm_pick_room *room, size_t bytes)
{
	size_t whole = (bytes + 7) / 8 * 8;
	void  *memory = room->memory + room->used;

	if (whole > room->bytes - room->used)
		return NULL;
	room->used += whole;
	return memory;
}

#endif /* GLM_PICK_ROOM_H */
