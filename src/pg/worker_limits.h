/*
 * worker_limits.h - the limits that roles have over all of their sessions.
 */
#ifndef CHATGLM_WORKER_LIMITS_H
#define CHATGLM_WORKER_LIMITS_H

#include "segment.h"

#include "lib/ilist.h"

typedef struct ChatglmAccount ChatglmAccount; /* of a role in a database */
typedef struct WorkerSession  WorkerSession;

/* For which accounts a request counts, and whether it waits for their limits. */
typedef struct ChatglmClaim
{
	ChatglmAccount *account[CHATGLM_QUOTAS]; /* NULL: none */
	bool			batch;					 /* may wait however many do */
	bool			held;
	TimestampTz		since; /* when it came */
	WorkerSession  *session;
	int				entry; /* of the session */
	dlist_node		link;  /* in the list of those held */
} ChatglmClaim;

extern void chatglm_limits_init(void);

/*
 * Takes what a backend says of itself; false: it cannot be so.  `login` is the role that
 * the backend's process is known by.
 */
extern bool chatglm_limits_accept(ChatglmClaim *claim, const ChatglmQuota *quota, Oid login,
								  Oid role, Oid database);

/* May a request go to the engine now?  If not, *hit says for what reason. */
typedef enum ChatglmMay
{
	CHATGLM_MAY_GO,
	CHATGLM_MAY_WAIT,
	CHATGLM_MAY_NOT
} ChatglmMay;

extern ChatglmMay chatglm_limits_look(const ChatglmClaim *claim, TimestampTz now,
									  ChatglmLimitHit *hit);

/* The account of the limit. */
extern const ChatglmAccount *chatglm_limits_account(const ChatglmClaim	  *claim,
													const ChatglmLimitHit *hit);

/* It goes to the engine, and comes back with so many tokens. */
extern void chatglm_accounts_begin(const ChatglmClaim *claim);
extern void chatglm_accounts_end(const ChatglmClaim *claim, int64 tokens);

/* It waits; or not any more, which may be said of any. */
extern void chatglm_limits_hold(ChatglmClaim *claim, TimestampTz now);
extern void chatglm_limits_unhold(ChatglmClaim *claim);

/* Those that wait, in the order in which they may go: of class 0, then of class 1. */
#define CHATGLM_HELD_CLASSES 2
extern dlist_head *chatglm_limits_held(int class);

/* Has an account's limit or what counts for it changed since the last call? */
extern bool chatglm_limits_moved(void);

#endif /* CHATGLM_WORKER_LIMITS_H */
