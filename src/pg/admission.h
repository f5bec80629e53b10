/*
 * admission.h - room in the worker's queue, as a backend gets it.
 */
#ifndef CHATGLM_ADMISSION_H
#define CHATGLM_ADMISSION_H

#include "room.h"

/*
 * Takes room for a request of this session and returns its place.  Batch waits for it,
 * serving interrupts and the session's queue; an interactive call fails where there is none.
 */
extern int chatglm_admission(ChatglmRoomWish *wish); /* leaves in timeout_ms what is left */

/* Would another row in flight find room, so that it need not wait? */
extern bool chatglm_room_for_row(void);

#endif /* CHATGLM_ADMISSION_H */
