/*
 * worker_limits.c - the limits that roles have over all of their sessions.
 *
 * An account is what a role does in one database.  A request has the accounts of the role
 * that logged in and of the current user (limits.c), and may go to the engine when all of
 * their limits let it.  All of this is the main thread's, so between looking and counting
 * nobody comes in between, and no more go than may.
 *
 * concurrent	the engine has at most so many requests.  The others wait here, calls before
 *				rows in flight and those of class batch, each in its order.
 * queued		at most so many calls wait.  Rows in flight and batch always may, as they do for
 *				room in the queue (room.c): a session has a bounded number of them.
 * tokens a minute
 *				what was spent is forgotten evenly, a minute's limit in a minute.  A request may
 *				begin while less than the limit is spent; what it then spends beyond that, its
 *				successors wait for.  So whatever requests are like, the limit holds over
 *				any long time.
 * tokens a day	the same day of UTC.  They are those of the view glm_usage (usage.c), which
 *				outlive the worker; what the others count begins anew with it.
 *
 * A limit is as the last request of the role has said it.  A backend's numbers are checked
 * when they come: they need not make sense, but must be numbers that can be counted with, of
 * the role that its process belongs to.
 */
#include "chatglm.h"

#include "utils/hsearch.h"
#include "utils/timestamp.h"

#include "limits_use.h"
#include "usage.h"
#include "worker_limits.h"

typedef struct AccountKey
{
	Oid role;
	Oid database;
} AccountKey;

struct ChatglmAccount
{
	AccountKey	 key;
	ChatglmQuota quota; /* as last told */
	int			 running;
	int			 waiting; /* calls that are held */
	double		 spent;	  /* of tokens a minute, as of then */
	TimestampTz	 spent_at;
	int32		 day;
	int64		 today; /* tokens spent on that day */
	int			 shown; /* its number in limits_use.c; -1: it is not there */
};

static HTAB		 *accounts;
static dlist_head held[CHATGLM_HELD_CLASSES];
static bool		  moved;

void
chatglm_limits_init(void)
{
	HASHCTL control = {.keysize = sizeof(AccountKey),
					   .entrysize = sizeof(ChatglmAccount),
					   .hcxt = TopMemoryContext};

	accounts =
		hash_create("chatglm accounts", 256, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	for (int i = 0; i < CHATGLM_HELD_CLASSES; i++)
		dlist_init(&held[i]);
	chatglm_limits_use_reset();
}

/* ---- Accounts -------------------------------------------------------------------- */

static ChatglmAccount *
account_of(Oid role, Oid database)
{
	const AccountKey key = {role, database};
	bool			 found;
	ChatglmAccount	*account = hash_search(accounts, &key, HASH_ENTER, &found);

	if (!found)
	{
		memset((char *) account + sizeof(key), 0, sizeof(*account) - sizeof(key));
		account->day = chatglm_usage_day(GetCurrentTimestamp());
		account->today = chatglm_usage_tokens(role, database, account->day);
		account->shown = -1;
	}
	return account;
}

static bool
has_limits(const ChatglmQuota *quota)
{
	return quota->concurrent >= 0 || quota->queued >= 0 || quota->tokens_per_minute >= 0 ||
		   quota->tokens_per_day >= 0;
}

/* Lets others see what has changed; that of roles without limits changes nothing for them. */
static void
show(ChatglmAccount *account)
{
	const ChatglmLimitsUse use = {.role = account->key.role,
								  .database = account->key.database,
								  .running = account->running,
								  .waiting = account->waiting,
								  .spent = account->spent,
								  .spent_at = account->spent_at};

	if (account->shown >= 0)
		chatglm_limits_use_set(account->shown, &use);
	else if (has_limits(&account->quota))
		account->shown = chatglm_limits_use_add(&use);
}

static bool
is_quota(const ChatglmQuota *quota)
{
	return quota->concurrent >= -1 && quota->queued >= -1 && quota->tokens_per_minute >= -1 &&
		   quota->tokens_per_minute <= CHATGLM_MOST_TOKENS && quota->tokens_per_day >= -1 &&
		   quota->tokens_per_day <= CHATGLM_MOST_TOKENS;
}

/* Brings what is forgotten with time up to date. */
static void
catch_up(ChatglmAccount *account, TimestampTz now)
{
	int32 day = chatglm_usage_day(now);

	if (day != account->day)
		account->today = 0;
	account->day = day;
	account->spent =
		chatglm_spent_by(account->spent, account->spent_at, account->quota.tokens_per_minute, now);
	account->spent_at = now;
}

/* What was spent until now was spent by the limit there was. */
static void
set_quota(ChatglmAccount *account, const ChatglmQuota *quota)
{
	if (memcmp(&account->quota, quota, sizeof(*quota)) == 0)
		return;
	catch_up(account, GetCurrentTimestamp());
	account->quota = *quota;
	show(account);
	moved = true;
}

bool
chatglm_limits_accept(ChatglmClaim *claim, const ChatglmQuota *quota, Oid login, Oid role,
					  Oid database)
{
	Oid current = OidIsValid(quota[1].role) ? quota[1].role : quota[0].role;

	if (quota[0].role != login || quota[1].role == login || current != role)
		return false;
	for (int i = 0; i < CHATGLM_QUOTAS; i++)
		if (!is_quota(&quota[i]))
			return false;
	for (int i = 0; i < CHATGLM_QUOTAS; i++)
	{
		if (!OidIsValid(quota[i].role))
			continue;
		claim->account[i] = account_of(quota[i].role, database);
		set_quota(claim->account[i], &quota[i]);
	}
	return true;
}

/* ---- Looking --------------------------------------------------------------------- */

static ChatglmMay
look_at_requests(const ChatglmAccount *account, const ChatglmClaim *claim, ChatglmLimitHit *hit)
{
	const ChatglmQuota *quota = &account->quota;

	if (quota->concurrent < 0 || account->running < quota->concurrent)
		return CHATGLM_MAY_GO;
	hit->limit = CHATGLM_LIMIT_CONCURRENT;
	hit->figure = quota->concurrent;
	if (quota->concurrent == 0)
		return CHATGLM_MAY_NOT;
	if (claim->batch || claim->held || quota->queued < 0 || account->waiting < quota->queued)
		return CHATGLM_MAY_WAIT;
	/* where none may wait, what keeps it out is that so many run */
	if (quota->queued > 0)
	{
		hit->limit = CHATGLM_LIMIT_QUEUED;
		hit->figure = quota->queued;
	}
	return CHATGLM_MAY_NOT;
}

static ChatglmMay
look_at_minute(const ChatglmAccount *account, const ChatglmClaim *claim, ChatglmLimitHit *hit)
{
	int64 most = account->quota.tokens_per_minute;

	if (most < 0 || account->spent < most)
		return CHATGLM_MAY_GO;
	hit->limit = CHATGLM_LIMIT_MINUTE;
	hit->figure = most;
	hit->used = (int64) account->spent;
	if (most == 0)
		return CHATGLM_MAY_NOT;
	hit->until = chatglm_spent_until(account->spent, account->spent_at, most);
	return claim->batch ? CHATGLM_MAY_WAIT : CHATGLM_MAY_NOT;
}

static ChatglmMay
look_at_day(const ChatglmAccount *account, ChatglmLimitHit *hit)
{
	int64 most = account->quota.tokens_per_day;

	if (most < 0 || account->today < most)
		return CHATGLM_MAY_GO;
	hit->limit = CHATGLM_LIMIT_DAY;
	hit->figure = most;
	hit->used = account->today;
	hit->until = most > 0 ? chatglm_usage_day_begins(account->day + 1) : 0;
	return CHATGLM_MAY_NOT;
}

static ChatglmMay
look_at_account(ChatglmAccount *account, const ChatglmClaim *claim, TimestampTz now,
				ChatglmLimitHit *hit)
{
	ChatglmMay may;

	catch_up(account, now);
	*hit = (ChatglmLimitHit){.role = account->key.role};
	may = look_at_day(account, hit);
	if (may == CHATGLM_MAY_GO)
		may = look_at_minute(account, claim, hit);
	if (may == CHATGLM_MAY_GO)
		may = look_at_requests(account, claim, hit);
	return may;
}

ChatglmMay
chatglm_limits_look(const ChatglmClaim *claim, TimestampTz now, ChatglmLimitHit *hit)
{
	ChatglmMay worst = CHATGLM_MAY_GO;

	for (int i = 0; i < CHATGLM_QUOTAS; i++)
	{
		ChatglmLimitHit one;
		ChatglmMay		may;

		if (claim->account[i] == NULL)
			continue;
		may = look_at_account(claim->account[i], claim, now, &one);
		if (may > worst)
		{
			worst = may;
			*hit = one;
		}
	}
	return worst;
}

const ChatglmAccount *
chatglm_limits_account(const ChatglmClaim *claim, const ChatglmLimitHit *hit)
{
	for (int i = 0; i < CHATGLM_QUOTAS; i++)
		if (claim->account[i] != NULL && claim->account[i]->key.role == hit->role)
			return claim->account[i];
	return NULL;
}

/* ---- Counting -------------------------------------------------------------------- */

void
chatglm_accounts_begin(const ChatglmClaim *claim)
{
	for (int i = 0; i < CHATGLM_QUOTAS; i++)
		if (claim->account[i] != NULL)
		{
			claim->account[i]->running++;
			show(claim->account[i]);
		}
}

void
chatglm_accounts_end(const ChatglmClaim *claim, int64 tokens)
{
	TimestampTz now = GetCurrentTimestamp();

	for (int i = 0; i < CHATGLM_QUOTAS; i++)
	{
		ChatglmAccount *account = claim->account[i];

		if (account == NULL)
			continue;
		catch_up(account, now);
		account->running--;
		account->today += tokens;
		if (account->quota.tokens_per_minute >= 0)
			account->spent += tokens;
		show(account);
	}
	moved = true;
}

/* ---- Waiting --------------------------------------------------------------------- */

static void
count_waiting(const ChatglmClaim *claim, int n)
{
	for (int i = 0; i < CHATGLM_QUOTAS && !claim->batch; i++)
		if (claim->account[i] != NULL)
		{
			claim->account[i]->waiting += n;
			show(claim->account[i]);
		}
}

void
chatglm_limits_hold(ChatglmClaim *claim, TimestampTz now)
{
	claim->held = true;
	claim->since = now;
	dlist_push_tail(&held[claim->batch], &claim->link);
	count_waiting(claim, 1);
}

void
chatglm_limits_unhold(ChatglmClaim *claim)
{
	if (!claim->held)
		return;
	claim->held = false;
	dlist_delete(&claim->link);
	count_waiting(claim, -1);
	moved = true;
}

dlist_head *
chatglm_limits_held(int class)
{
	return &held[class];
}

bool
chatglm_limits_moved(void)
{
	bool was = moved;

	moved = false;
	return was;
}
