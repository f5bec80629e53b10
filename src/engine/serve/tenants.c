/*
 * tenants.c - which tenant's turn it is to have a sequence admitted, and of which class.
 *
 * Tenants take turns.  The one with the fewest active sequences is next, of tenants alike
 * the one that waits longest for an admission.  Within a tenant interactive sequences come
 * before those of batch jobs, and within a class who came first; but when BATCH_TURN of
 * them were admitted while batch waited, one of batch is next.  So neither many requests
 * nor calling them interactive holds up another tenant, and endless interactive ones do
 * not hold up a tenant's own batch for ever.
 *
 * A tenant's share of the places is max_sequences by the number of tenants with something
 * to do; a tenant below it may displace others (admit.c).  The turns that running sequences
 * have in passes are dealt out in rank.c.
 */
#include "engine/serve/scheduler.h"

#define BATCH_TURN 3 /* interactive admissions for one of batch */

/* ---- Places ------------------------------------------------------------- */

int
glm_tenants_count_active(glm_scheduler *s)
{
	int n = 0;

	for (glm_tenant *tenant = s->tenants; tenant != NULL; tenant = tenant->next)
		tenant->n_active = 0;
	for (const glm_sequence *seq = s->running; seq != NULL; seq = seq->next)
	{
		if (glm_sequence_paused(s->engine, seq))
			continue;
		seq->tenant->n_active++;
		n++;
	}
	return n;
}

int
glm_tenants_share(const glm_scheduler *s)
{
	int n = 0;

	for (const glm_tenant *tenant = s->tenants; tenant != NULL; tenant = tenant->next)
		n += tenant->n_active > 0 || tenant->next_of[0] != NULL || tenant->next_of[1] != NULL;
	return n < s->engine->max_sequences ? s->engine->max_sequences / n : 1;
}

/* ---- Whose turn it is ------------------------------------------------------------- */

void
glm_tenants_find_waiting(glm_scheduler *s)
{
	for (glm_tenant *tenant = s->tenants; tenant != NULL; tenant = tenant->next)
	{
		tenant->next_of[0] = tenant->next_of[1] = NULL;
		tenant->tried = false;
	}
	for (glm_sequence *seq = s->waiting; seq != NULL; seq = seq->next)
	{
		glm_sequence **next = &seq->tenant->next_of[seq->request->batch];

		/* one that was preempted may be paused: its reader is not back yet */
		if (*next == NULL && !glm_sequence_paused(s->engine, seq))
			*next = seq;
	}
}

static bool
is_admitted_before(const glm_tenant *a, const glm_tenant *b)
{
	if (a->n_active != b->n_active)
		return a->n_active < b->n_active;
	return a->admitted < b->admitted;
}

glm_tenant *
glm_tenants_next(glm_scheduler *s)
{
	glm_tenant *best = NULL;

	for (glm_tenant *tenant = s->tenants; tenant != NULL; tenant = tenant->next)
	{
		if (!tenant->tried && (best == NULL || is_admitted_before(tenant, best)))
			best = tenant;
	}
	if (best != NULL)
		best->tried = true;
	return best;
}

bool
glm_tenant_batch_is_next(const glm_tenant *tenant)
{
	return tenant->ahead_of_batch >= BATCH_TURN;
}

void
glm_tenant_had_turn(glm_scheduler *s, glm_tenant *tenant, bool batch)
{
	tenant->admitted = ++s->admissions;
	tenant->ahead_of_batch = batch || tenant->next_of[1] == NULL ? 0 : tenant->ahead_of_batch + 1;
}
