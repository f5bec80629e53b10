/*
 * catch.c - errors as values.
 *
 * The sound way to go on after an error is a subtransaction, since its abort
 * undoes whatever was under way.  But a parallel query's leader may start none
 * (before 17), and a subtransaction would be a high price for converting each
 * answer to the database's encoding.  There the error is caught by PG_TRY under a
 * resource owner of its own.  That is enough because of what runs under it:
 *
 *	- It writes nothing and pushes no snapshot.  It reads arguments, looks a model
 *	  up in a table and in system caches, converts texts, sends a request.  What
 *	  these hold while they may throw (buffer pins, references to relations and
 *	  cached rows, registered snapshots, locks) belongs to the current resource
 *	  owner, and goes with ours.
 *	- What belongs to no owner is held by errors of the server itself: LWLocks,
 *	  when its input and output or its own workings fail.  Errors of those
 *	  classes are thrown there, and so is the end of memory everywhere.
 *	- A request that was being sent is ended by client.c before it throws.
 *	- Memory is the caller's, who resets its context after each row.
 *
 * Cancels are thrown everywhere, as PL/pgSQL's OTHERS lets them pass.
 */
#include "chatglm.h"

#include "access/xact.h"
#include "utils/resowner.h"

#include "catch.h"
#include "errors.h"

/*
 * Somebody wants the query itself to end, or it cannot go on.  A request that is out
 * of time, perhaps while it waited for room, is of that class and yet only itself.
 */
static bool
must_be_thrown(const ErrorData *error)
{
	return error->sqlerrcode == ERRCODE_QUERY_CANCELED ||
		   error->sqlerrcode == ERRCODE_ASSERT_FAILURE ||
		   error->sqlerrcode == ERRCODE_OUT_OF_MEMORY ||
		   (ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_OPERATOR_INTERVENTION &&
			error->sqlerrcode != CHATGLM_ERRCODE_TIMED_OUT);
}

/*
 * May LWLocks be held where this was thrown?  Class 58 is what files fail of; its
 * head is our own, for a request that was lost with its worker.
 */
static bool
is_of_the_server(const ErrorData *error)
{
	return ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_INTERNAL_ERROR ||
		   (ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_SYSTEM_ERROR &&
			error->sqlerrcode != ERRCODE_SYSTEM_ERROR);
}

ErrorData *
chatglm_take_error(MemoryContext context)
{
	ErrorData *error;

	MemoryContextSwitchTo(context);
	error = CopyErrorData();
	FlushErrorState();
	return error;
}

/* ---- Under a resource owner --------------------------------------------------- */

static void
end_owner(ResourceOwner owner, ResourceOwner outer, bool good)
{
	CurrentResourceOwner = owner;
	ResourceOwnerRelease(owner, RESOURCE_RELEASE_BEFORE_LOCKS, good, false);
	ResourceOwnerRelease(owner, RESOURCE_RELEASE_LOCKS, good, false);
	ResourceOwnerRelease(owner, RESOURCE_RELEASE_AFTER_LOCKS, good, false);
	CurrentResourceOwner = outer;
	ResourceOwnerDelete(owner);
}

/* Locks that work() took and kept pass on to the outer owner, like a subtransaction's. */
ErrorData *
chatglm_catch(void (*work)(void *arg), void *arg, MemoryContext context)
{
	MemoryContext old_context = CurrentMemoryContext;
	ResourceOwner outer = CurrentResourceOwner;
	ResourceOwner owner = ResourceOwnerCreate(outer, "chatglm");
	ErrorData *volatile error = NULL;

	CurrentResourceOwner = owner;
	PG_TRY();
	{
		work(arg);
	}
	PG_CATCH();
	{
		error = chatglm_take_error(context);
		if (must_be_thrown(error) || is_of_the_server(error))
		{
			CurrentResourceOwner = outer;
			ReThrowError(error);
		}
	}
	PG_END_TRY();
	end_owner(owner, outer, error == NULL);
	MemoryContextSwitchTo(old_context);
	return error;
}

/* ---- In a subtransaction -------------------------------------------------------- */

ErrorData *
chatglm_try(void (*work)(void *arg), void *arg, MemoryContext context)
{
	MemoryContext old_context = CurrentMemoryContext;
	ResourceOwner old_owner = CurrentResourceOwner;
	ErrorData *volatile error = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(old_context);
	PG_TRY();
	{
		work(arg);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		error = chatglm_take_error(context);
		RollbackAndReleaseCurrentSubTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(old_context);
	CurrentResourceOwner = old_owner;
	return error;
}

ErrorData *
chatglm_catch_all(void (*work)(void *arg), void *arg, MemoryContext context)
{
	ErrorData *error;

	if (IsInParallelMode())
		return chatglm_catch(work, arg, context);
	error = chatglm_try(work, arg, context);
	if (error != NULL && must_be_thrown(error))
		ReThrowError(error);
	return error;
}
