/*
 * outbox.c - events on their way from the engine's threads to the host.
 *
 * A ring of bytes under one lock: writers copy a header and its payload in,
 * the host copies them out.  The eventfd is readable exactly while the ring
 * holds something.  When the ring is full writers wait; the host takes events
 * out whatever their readers do, so this is short.  Results, of which there can be
 * megabytes, fill half of it only, so that tokens find room beside them.
 */
#include "engine/serve/engine.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

_Static_assert(sizeof(glm_event) == offsetof(glm_event, payload),
			   "a payload begins where its header ends");

#define RING_BYTES ((size_t) 1 << 20) /* a power of two, many events large */

bool
glm_outbox_open(glm_outbox *box, glm_error *err)
{
	memset(box, 0, sizeof(*box));
	pthread_mutex_init(&box->lock, NULL);
	pthread_cond_init(&box->room, NULL);
	box->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (box->fd < 0)
		return glm_fail(err, GLM_INTERNAL, "could not create an eventfd: %s", strerror(errno));
	box->ring = malloc(RING_BYTES);
	if (box->ring == NULL)
		return glm_no_memory(err);
	return true;
}

void
glm_outbox_close(glm_outbox *box)
{
	pthread_mutex_lock(&box->lock);
	box->closed = true;
	pthread_cond_broadcast(&box->room);
	pthread_mutex_unlock(&box->lock);
}

void
glm_outbox_free(glm_outbox *box)
{
	free(box->ring);
	if (box->fd >= 0)
		close(box->fd);
	pthread_cond_destroy(&box->room);
	pthread_mutex_destroy(&box->lock);
}

/* Copies into the ring at *tail, around its end if need be. */
static void
ring_write(glm_outbox *box, const void *bytes, size_t n)
{
	size_t at = box->tail % RING_BYTES;
	size_t first = n < RING_BYTES - at ? n : RING_BYTES - at;

	memcpy(box->ring + at, bytes, first);
	memcpy(box->ring, (const uint8_t *) bytes + first, n - first);
	box->tail += n;
}

static void
ring_read(glm_outbox *box, void *bytes, size_t n)
{
	size_t at = box->head % RING_BYTES;
	size_t first = n < RING_BYTES - at ? n : RING_BYTES - at;

	memcpy(bytes, box->ring + at, first);
	memcpy((uint8_t *) bytes + first, box->ring, n - first);
	box->head += n;
}

void
glm_outbox_put(glm_outbox *box, const glm_event *header, const void *payload)
{
	size_t n = sizeof(*header) + header->length;
	bool   piece = header->kind == GLM_EVENT_RESULT || header->kind == GLM_EVENT_LOGPROBS;
	size_t size = piece ? RING_BYTES / 2 : RING_BYTES;

	pthread_mutex_lock(&box->lock);
	(void) GLM_INJECT("outbox");
	while (!box->closed && box->tail - box->head + n > size)
		pthread_cond_wait(&box->room, &box->lock);
	if (!box->closed)
	{
		bool was_empty = box->head == box->tail;

		ring_write(box, header, sizeof(*header));
		if (header->length > 0)
			ring_write(box, payload, header->length);
		if (was_empty)
			(void) eventfd_write(box->fd, 1);
	}
	pthread_mutex_unlock(&box->lock);
}

bool
glm_outbox_take(glm_outbox *box, glm_event *buf)
{
	bool any;

	pthread_mutex_lock(&box->lock);
	any = box->head != box->tail;
	if (any)
	{
		ring_read(box, buf, sizeof(*buf));
		ring_read(box, buf->payload, buf->length);
		pthread_cond_broadcast(&box->room);
		if (box->head == box->tail)
		{
			eventfd_t counter;

			(void) eventfd_read(box->fd, &counter);
			/* start over, so that a quiet ring stays within a page of memory */
			box->head = box->tail = 0;
		}
	}
	pthread_mutex_unlock(&box->lock);
	return any;
}
