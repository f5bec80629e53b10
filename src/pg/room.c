/*
 * room.c - how much each role may put into the worker's queue.
 *
 * The queue is bounded in requests (places) and in bytes of their blocks, and no role can
 * take all of either.  A backend takes room in shared memory before it sends a request, so
 * a request that does not fit never reaches the worker; the worker gives the room back when
 * the engine is done with the request.  Results that a backend does not read are charged to
 * its role, too, and hold the place until they are read.  Their size is not known before,
 * so they count against the role's share only, not against what is free for others.
 *
 * Shares.  A role's limit depends on what is free: it may hold as many requests as a
 * fixed multiple of the free places (dynamic thresholds after Choudhury and Hahne, as
 * switches share their buffers).  A role alone comes to `role_limit` (max_sequences +
 * max_queue); several come to less, all to as much, and some places always stay free for
 * roles that hold nothing: such a role always gets one.  For this there are more places
 * than one role may take.  Batch requests and rows in flight stop at a smaller multiple,
 * `batch_limit`: the rest is kept for interactive calls.  But for the first `batch_first` of a
 * role, which go by the multiple of calls: else hundreds of sessions that call would keep its
 * rows out for as long as they do.  They are as many as keep the engine's promise to batch, one
 * admission in four (tenants.c).  Bytes are shared alike: a role may
 * hold as many as are free, with batch half as many; the last few are kept for short
 * texts.  A role that holds nothing may take all that is free.  A short interactive call
 * needs free bytes only, no share of them.
 *
 * Waiting.  An interactive call that finds no room fails at once.  Rows in flight wait, in
 * their session, and are registered at their process number.  Among the waiters for whom
 * there is room the order is: the role that holds least, then sessions that have nothing
 * running, then the longest wait; no waiter overtakes another.  When room comes free, the
 * latch of the first is set.  A waiter asks again every 200 ms anyway; a process that has
 * not asked for STALE_US is stopped, and the others do not wait for it.
 *
 * A place bears the id of its request, and ids are never used twice in a server's
 * life.  So a place may be given back by both sides, late, or to another worker:
 * only the first time counts.
 *
 * Lock: Room.lock, for everything.  Nobody raises an ERROR or waits while holding it.
 */
#include "chatglm.h"

#include "storage/proc.h"
#include "utils/timestamp.h"

#include "room.h"
#include "settings.h"

#define SMALL_BYTES (64 * 1024)				/* a block for which the last bytes are kept */
#define RESERVE_BYTES (INT64CONST(8) << 20) /* so many at most */
#define STALE_US INT64CONST(2000000)

/* What a role holds. */
typedef struct Holder
{
	Oid	  role;
	int	  requests;
	int	  batch; /* of these */
	int64 bytes; /* of blocks and results */
} Holder;

typedef struct Place
{
	uint64 id; /* 0 = free */
	Oid	   role;
	bool   batch;
	int	   next_free; /* -1: none */
	int64  bytes;	  /* of the block */
	int64  results;	  /* that are not read */
} Place;

/* A session that waits; its index is the process number. */
typedef struct Waiter
{
	uint64			since; /* 0 = it does not wait */
	TimestampTz		asked; /* last */
	ChatglmRoomWish wish;
} Waiter;

typedef struct Room
{
	LWLock *lock;
	int		n_slots;
	int		n_places;
	int		role_limit;	 /* places one role may have when it is alone */
	int		batch_limit; /* of those, for batch */
	int		batch_first; /* requests of batch that go by role_limit */
	int64	total_bytes;
	int64	reserve_bytes; /* for small blocks */

	int	   first_free;
	int	   requests; /* places taken */
	int64  bytes;	 /* of all blocks */
	int64  results;	 /* that are not read */
	int	   n_holders;
	int	   n_waiters;
	uint64 waits; /* counts, for Waiter.since */
				  /* Place[n_places], Holder[n_places] and Waiter[n_slots] follow */
} Room;

static Room *room;

static Place *
places(void)
{
	return (Place *) ((char *) room + MAXALIGN(sizeof(Room)));
}

static Holder *
holders(void)
{
	return (Holder *) (places() + room->n_places);
}

static Waiter *
waiters(void)
{
	return (Waiter *) (holders() + room->n_places);
}

/* ---- memory ------------------------------------------------------------- */

/* What one role may take, and a quarter on top for the others. */
int
chatglm_room_places(void)
{
	int role_limit = chatglm_max_sequences + chatglm_max_queue;

	return role_limit + Max(8, role_limit / 4);
}

Size
chatglm_room_size(void)
{
	Size size = MAXALIGN(sizeof(Room));

	size = add_size(size, mul_size(chatglm_room_places(), sizeof(Place) + sizeof(Holder)));
	return add_size(size, mul_size(chatglm_max_backends(), sizeof(Waiter)));
}

void
chatglm_room_init(void *memory, LWLock *lock)
{
	room = memory;
	if (lock == NULL)
		return;
	memset(room, 0, chatglm_room_size());
	room->lock = lock;
	room->n_slots = chatglm_max_backends();
	room->n_places = chatglm_room_places();
	room->role_limit = chatglm_max_sequences + chatglm_max_queue;
	room->batch_limit = room->role_limit - Max(1, chatglm_max_queue / 4);
	room->batch_first = Max(1, chatglm_max_sequences / 4);
	room->total_bytes = (int64) chatglm_queue_memory << 20;
	room->reserve_bytes = Min(room->total_bytes / 16, RESERVE_BYTES);
	chatglm_room_reset();
}

void
chatglm_room_reset(void)
{
	LWLockAcquire(room->lock, LW_EXCLUSIVE);
	for (int i = 0; i < room->n_places; i++)
		places()[i] = (Place){.next_free = i + 1 < room->n_places ? i + 1 : -1};
	room->first_free = 0;
	room->requests = 0;
	room->bytes = room->results = 0;
	room->n_holders = 0;
	LWLockRelease(room->lock);
}

/* ---- shares --------------------------------------------------------------- */

static Holder *
find_holder(Oid role)
{
	for (int i = 0; i < room->n_holders; i++)
		if (holders()[i].role == role)
			return &holders()[i];
	return NULL;
}

static int
requests_of(Oid role)
{
	const Holder *holder = find_holder(role);

	return holder != NULL ? holder->requests : 0;
}

/* Is there a place for one more, of a role that holds this? */
static ChatglmRoomAnswer
look_for_place(const Holder *holder, bool batch)
{
	bool  as_batch = batch && holder->batch >= room->batch_first;
	int64 limit = as_batch ? room->batch_limit : room->role_limit;
	int64 left = room->n_places - room->requests;
	int	  held = holder->requests;

	if (left <= 0)
		return CHATGLM_ROOM_REQUESTS;
	/* alone, held == limit and left == n_places - limit make both sides equal */
	if (held > 0 && held * (room->n_places - limit) >= limit * left)
		return CHATGLM_ROOM_ROLE_REQUESTS;
	return CHATGLM_ROOM_GIVEN;
}

static ChatglmRoomAnswer
look_for_bytes(int64 held, int64 bytes, bool batch)
{
	int64 reserve = bytes > SMALL_BYTES ? room->reserve_bytes : 0;
	int64 left = room->total_bytes - room->bytes;

	if (bytes > room->total_bytes - reserve)
		return CHATGLM_ROOM_NEVER;
	if (bytes <= SMALL_BYTES && !batch)
		return bytes > left ? CHATGLM_ROOM_BYTES : CHATGLM_ROOM_GIVEN;
	if (bytes + reserve > left)
		return CHATGLM_ROOM_BYTES;
	if (held > 0 && (held + bytes) * (batch ? 2 : 1) > left - bytes)
		return CHATGLM_ROOM_ROLE_BYTES;
	return CHATGLM_ROOM_GIVEN;
}

static ChatglmRoomAnswer
look_for_room(const ChatglmRoomWish *wish)
{
	static const Holder nobody;
	const Holder	   *holder = find_holder(wish->role);
	ChatglmRoomAnswer	answer;

	if (holder == NULL)
		holder = &nobody;
	answer = look_for_bytes(holder->bytes, wish->bytes, wish->batch);
	return answer == CHATGLM_ROOM_GIVEN ? look_for_place(holder, wish->batch) : answer;
}

/* ---- turns of waiters ------------------------------------------------------- */

static bool
comes_before(const ChatglmRoomWish *a, uint64 a_since, const ChatglmRoomWish *b, uint64 b_since)
{
	if (a->role != b->role)
	{
		int a_held = requests_of(a->role);
		int b_held = requests_of(b->role);

		if (a_held != b_held)
			return a_held < b_held;
	}
	if (a->idle != b->idle)
		return a->idle;
	return a_since < b_since;
}

/* The first of those for whom there is room, but for the one at `except`; -1: nobody. */
static int
first_waiter(int except)
{
	const Waiter *all = waiters();
	TimestampTz	  stale = GetCurrentTimestamp() - STALE_US;
	int			  first = -1;

	for (int i = 0, seen = 0; i < room->n_slots && seen < room->n_waiters; i++)
	{
		if (all[i].since == 0)
			continue;
		seen++;
		if (i != except && all[i].asked > stale &&
			look_for_room(&all[i].wish) == CHATGLM_ROOM_GIVEN &&
			(first < 0 ||
			 comes_before(&all[i].wish, all[i].since, &all[first].wish, all[first].since)))
			first = i;
	}
	return first;
}

static void
wake_first(void)
{
	int first = room->n_waiters > 0 ? first_waiter(-1) : -1;

	if (first >= 0)
		SetLatch(&GetPGProcByNumber(first)->procLatch);
}

/* The answer to a wish that has waited since then. */
static ChatglmRoomAnswer
look_for_turn(const ChatglmRoomWish *wish, uint64 since)
{
	ChatglmRoomAnswer answer = look_for_room(wish);
	int				  first;

	if (answer != CHATGLM_ROOM_GIVEN || !wish->queues || room->n_waiters == 0)
		return answer;
	first = first_waiter(chatglm_proc_number());
	if (first >= 0 && comes_before(&waiters()[first].wish, waiters()[first].since, wish, since))
		return CHATGLM_ROOM_TURN;
	return CHATGLM_ROOM_GIVEN;
}

/* ---- taking and giving -------------------------------------------------------- */

static int
take_place(const ChatglmRoomWish *wish)
{
	Holder *holder = find_holder(wish->role);
	int		number = room->first_free;
	Place  *place = &places()[number];

	if (holder == NULL)
	{
		holder = &holders()[room->n_holders++];
		*holder = (Holder){.role = wish->role};
	}
	holder->requests++;
	holder->batch += wish->batch;
	holder->bytes += wish->bytes;
	room->requests++;
	room->bytes += wish->bytes;
	room->first_free = place->next_free;
	*place = (Place){.id = wish->id,
					 .role = wish->role,
					 .batch = wish->batch,
					 .next_free = -1,
					 .bytes = wish->bytes};
	return number;
}

static void
stop_waiting(Waiter *me)
{
	if (me->since == 0)
		return;
	me->since = 0;
	room->n_waiters--;
}

ChatglmRoomAnswer
chatglm_room_take(const ChatglmRoomWish *wish, int *place)
{
	Waiter			 *me = &waiters()[chatglm_proc_number()];
	ChatglmRoomAnswer answer;

	LWLockAcquire(room->lock, LW_EXCLUSIVE);
	answer = look_for_turn(wish, me->since != 0 ? me->since : PG_UINT64_MAX);
	if (answer == CHATGLM_ROOM_GIVEN)
	{
		*place = take_place(wish);
		stop_waiting(me);
		wake_first(); /* there may be room for more than one */
	}
	else if (wish->queues && answer != CHATGLM_ROOM_NEVER)
	{
		if (me->since == 0)
		{
			me->since = ++room->waits;
			room->n_waiters++;
		}
		me->wish = *wish;
		me->asked = GetCurrentTimestamp();
		if (answer == CHATGLM_ROOM_TURN)
			wake_first();
	}
	LWLockRelease(room->lock);
	return answer;
}

bool
chatglm_room_open(const ChatglmRoomWish *wish)
{
	bool open;

	LWLockAcquire(room->lock, LW_SHARED);
	open = look_for_turn(wish, PG_UINT64_MAX) == CHATGLM_ROOM_GIVEN;
	LWLockRelease(room->lock);
	return open;
}

/* The place while it is this request's, locked; NULL: it is not (any more). */
static Place *
lock_place(int number, uint64 id)
{
	if (id == 0 || number < 0 || number >= room->n_places)
		return NULL;
	LWLockAcquire(room->lock, LW_EXCLUSIVE);
	if (places()[number].id == id)
		return &places()[number];
	LWLockRelease(room->lock);
	return NULL;
}

void
chatglm_room_charge(int number, uint64 id, int64 block, int64 results)
{
	Place *place = lock_place(number, id);

	if (place == NULL)
		return;
	place->bytes += block;
	place->results += results;
	find_holder(place->role)->bytes += block + results;
	room->bytes += block;
	room->results += results;
	if (block + results < 0)
		wake_first();
	LWLockRelease(room->lock);
}

void
chatglm_room_give(int number, uint64 id)
{
	Place  *place = lock_place(number, id);
	Holder *holder;

	if (place == NULL)
		return;
	holder = find_holder(place->role);
	holder->bytes -= place->bytes + place->results;
	holder->batch -= place->batch;
	if (--holder->requests == 0)
		*holder = holders()[--room->n_holders];
	room->requests--;
	room->bytes -= place->bytes;
	room->results -= place->results;
	*place = (Place){.next_free = room->first_free};
	room->first_free = number;
	wake_first();
	LWLockRelease(room->lock);
}

void
chatglm_room_leave(void)
{
	Waiter *me = &waiters()[chatglm_proc_number()];

	/* nobody else writes there */
	if (me->since == 0)
		return;
	LWLockAcquire(room->lock, LW_EXCLUSIVE);
	stop_waiting(me);
	wake_first();
	LWLockRelease(room->lock);
}

/* ---- looking -------------------------------------------------------------------- */

void
chatglm_room_look(Oid role, ChatglmRoomUse *use)
{
	const Holder *holder;

	LWLockAcquire(room->lock, LW_SHARED);
	holder = find_holder(role);
	*use = (ChatglmRoomUse){
		.requests = room->requests,
		.bytes = room->bytes + room->results,
		.total_bytes = room->total_bytes,
		.role_requests = holder != NULL ? holder->requests : 0,
		.role_bytes = holder != NULL ? holder->bytes : 0,
	};
	LWLockRelease(room->lock);
}
