/*
 * segment.c - a session's segment and queues in a process that must outlive their faults.
 *
 * PostgreSQL raises an ERROR where a segment cannot be mapped (no descriptor, no address, no
 * memory) and where a message has a length that cannot be.  In the worker that would end the
 * requests of everybody; so it goes to the log, and the caller is told.
 */
#include "chatglm.h"

#include "segment.h"

static void
log_error(MemoryContext context)
{
	MemoryContextSwitchTo(context);
	EmitErrorReport();
	FlushErrorState();
}

dsm_segment *
chatglm_segment_attach(dsm_handle handle, bool *refused)
{
	MemoryContext context = CurrentMemoryContext;
	dsm_segment *volatile segment = NULL;

	*refused = false;
	PG_TRY();
	{
		segment = dsm_attach(handle);
	}
	PG_CATCH();
	{
		log_error(context);
		*refused = true;
	}
	PG_END_TRY();
	/* what was not mapped is on dsm.c's list all the same */
	if (*refused && (segment = dsm_find_mapping(handle)) != NULL)
	{
		dsm_detach(segment);
		segment = NULL;
	}
	return segment;
}

shm_mq_result
chatglm_mq_receive(shm_mq_handle *queue, Size *size, void **data, ChatglmLoss *loss)
{
	MemoryContext		   context = CurrentMemoryContext;
	volatile shm_mq_result result = SHM_MQ_DETACHED;

	PG_TRY();
	{
		result = shm_mq_receive(queue, size, data, true);
	}
	PG_CATCH();
	{
		*loss =
			geterrcode() == ERRCODE_OUT_OF_MEMORY ? CHATGLM_LOSS_NO_MEMORY : CHATGLM_LOSS_MESSAGE;
		log_error(context);
	}
	PG_END_TRY();
	return result;
}
