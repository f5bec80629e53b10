-- limits.sql - chatglm.limits and glm_usage, as one session meets them; test/t/test_limits.py has several.
\set ON_ERROR_STOP on
\set QUIET on
BEGIN;
CREATE ROLE glm_tap_user;
CREATE ROLE glm_tap_group;
CREATE ROLE glm_tap_circle;
CREATE ROLE glm_tap_member IN ROLE glm_tap_group, glm_tap_circle;
CREATE ROLE glm_tap_owner;
CREATE ROLE glm_tap_counted;
CREATE ROLE glm_tap_monitor IN ROLE pg_monitor;
SELECT plan(83);

CREATE FUNCTION pg_temp.ask(prompt text DEFAULT 'hi') RETURNS text LANGUAGE sql AS $$ SELECT glm_generate(prompt, max_tokens => 2) $$;
GRANT EXECUTE ON FUNCTION pg_temp.ask TO PUBLIC;

-- ---- the table ----
SELECT is_empty('SELECT * FROM chatglm.limits', 'nobody has limits');
SELECT throws_ok($$INSERT INTO chatglm.limits (role, concurrent) VALUES ('glm_tap_user', -1)$$, '23514', NULL, 'none is below 0');
SELECT throws_ok($$INSERT INTO chatglm.limits (role, max_tokens) VALUES ('glm_tap_user', 0)$$, '23514', NULL, 'an answer has a token');
SELECT throws_ok($$INSERT INTO chatglm.limits (role, priority) VALUES ('glm_tap_user', 'high')$$, '23514', NULL, 'a class is one of two');
SELECT throws_ok($$INSERT INTO chatglm.limits (role, sharing) VALUES ('glm_tap_user', 'all')$$, '23514', NULL, 'no limit gives more than there is');
SELECT throws_ok($$INSERT INTO chatglm.limits (role, models) VALUES ('glm_tap_user', '{NULL}')$$, '23514', NULL, 'models have names');
SELECT throws_ok($$INSERT INTO chatglm.limits (role) VALUES ('glm_tap_nobody')$$, '42704', NULL, 'a role is one that there is');
SELECT is((SELECT count(*) FROM pg_extension WHERE extname = 'chatglm' AND 'chatglm.limits'::regclass = ANY (extconfig)), 1::bigint, 'pg_dump keeps the rows');
SET ROLE glm_tap_user;
SELECT throws_ok($$SELECT * FROM chatglm.limits$$, '42501', NULL, 'a role cannot read it');
SELECT throws_ok($$INSERT INTO chatglm.limits (role) VALUES ('glm_tap_user')$$, '42501', NULL, 'nor write it');
SELECT isnt(pg_temp.ask(), NULL, 'and asks without limits');
RESET ROLE;

SELECT is_empty('SELECT * FROM glm_limits', 'and no limits are shown');
-- ---- what one request can break ----
INSERT INTO chatglm.limits (role, max_tokens, models, sharing) VALUES ('glm_tap_user', 3, '{tiny-chatglm3}', 'off');
SET ROLE glm_tap_user;
SELECT throws_ok($$SELECT glm_generate('hi', max_tokens => 4)$$, '53400', '4 tokens are more than the limit max_tokens of role "glm_tap_user" (3)', 'more tokens than allowed');
SELECT isnt(glm_generate('hi', max_tokens => 3), NULL, 'as many as allowed');
SELECT is((SELECT completion_tokens FROM glm_try_generate('hi', temperature => 100, top_p => 1, seed => 1)), 3, 'a call that does not say gets them');
SET chatglm.max_tokens = 1000;
SELECT is((SELECT completion_tokens FROM glm_try_generate('hi', temperature => 100, top_p => 1, seed => 1)), 3, 'the setting does not lift that');
SELECT is((SELECT sqlstate FROM glm_try_generate('hi', max_tokens => 4)), '53400', 'glm_try_generate gives the error as a row');
SELECT results_eq($$SELECT idx, error IS NULL FROM glm_generate_batch('{hi,ho}', max_tokens => 4)$$, $$VALUES (1, false), (2, false)$$, 'glm_generate_batch as well');
SELECT is((SELECT count(*) FROM glm_stream('hi', temperature => 100, top_p => 1, seed => 1)), 3::bigint, 'a stream ends as early');
SELECT is((glm_chat('[{"role": "user", "content": "hi"}]', temperature => 100, top_p => 1, seed => 1)->'usage'->>'completion_tokens')::int, 3, 'and a chat');
SELECT throws_ok($$SELECT glm_generate_det('hi', glm_model_hash('tiny-chatglm3'), 4)$$, '53400', NULL, 'a pinned answer is not made another one');
SELECT ok(glm_count_tokens('hi') > 0, 'what needs no answer has no tokens of one');
SELECT isnt(glm_embed('hi'), NULL, 'nor vectors');
SELECT isnt(glm_chat(format('[{"role": "user", "content": "%s"}]', repeat('the same beginning ', 30))::jsonb, max_tokens => 1), NULL, 'a long prompt');
SELECT is(glm_chat(format('[{"role": "user", "content": "%s"}]', repeat('the same beginning ', 30))::jsonb, max_tokens => 1)->'usage'->'prompt_tokens_details'->>'cached_tokens',
          '0', 'nothing is shared');
RESET ROLE;
SELECT glm_model_load('tap-limited', path) FROM glm_models WHERE name = 'tiny-chatglm3' \g /dev/null
SELECT glm_route_set('tap-route', '{"tap-limited": 1}') \g /dev/null
SET ROLE glm_tap_user;
SELECT throws_ok($$SELECT glm_generate('hi', 'tap-limited', max_tokens => 1)$$, '42501', 'permission denied for model "tap-limited"', 'another model');
SELECT throws_ok($$SELECT glm_generate('hi', 'tap-route', max_tokens => 1)$$, '42501', 'permission denied for model "tap-limited"', 'by a route');
SELECT throws_ok($$SELECT glm_count_tokens('hi', 'tap-limited')$$, '42501', NULL, 'for anything');
RESET ROLE;
UPDATE chatglm.limits SET models = '{}', max_tokens = NULL;
SET ROLE glm_tap_user;
SELECT throws_ok('SELECT pg_temp.ask()', '42501', NULL, 'an empty list is no model at all');
RESET ROLE;
UPDATE chatglm.limits SET models = NULL, timeout_ms = 1;
SET ROLE glm_tap_user;
SELECT throws_like($$SELECT glm_generate('hi', max_tokens => 4000, temperature => 50, top_p => 1, seed => 1)$$, 'the request took longer than%', 'a time limit');
SELECT throws_ok($$SELECT glm_generate('hi', max_tokens => 4000, temperature => 50, top_p => 1, seed => 1, options => '{"timeout_ms": 100000}')$$, '57T01', NULL, 'the call cannot lift it');
SET chatglm.request_timeout = 0;
SELECT throws_ok($$SELECT glm_generate('hi', max_tokens => 4000, temperature => 50, top_p => 1, seed => 1)$$, '57T01', NULL, 'nor a setting');
SELECT is((SELECT sqlstate FROM glm_try_generate('hi', max_tokens => 4000, temperature => 50, top_p => 1, seed => 1)), '57T01', 'nor being a row');
RESET ROLE;

-- ---- closed ----
UPDATE chatglm.limits SET timeout_ms = NULL, concurrent = 0;
SET ROLE glm_tap_user;
SELECT throws_ok('SELECT pg_temp.ask()', '53400', 'role "glm_tap_user" has reached its limit concurrent (0 requests at a time)', 'none at all');
SELECT throws_ok($$SELECT glm_generate(p, max_tokens => 1) FROM (VALUES ('a'), ('b')) v (p)$$, '53400', NULL, 'not in flight');
SELECT throws_ok($$SELECT * FROM glm_stream('hi')$$, '53400', NULL, 'not as a stream');
SELECT throws_ok($$SELECT glm_classify('hi', '{a,b}')$$, '53400', NULL, 'no scores');
SELECT throws_ok($$SELECT glm_count_tokens('hi')$$, '53400', NULL, 'no tokens');
SELECT throws_ok($$SELECT glm_summarize_agg(p) FROM (VALUES ('a'), ('b')) v (p)$$, '53400', NULL, 'no aggregates');
SELECT is((SELECT array_agg(error IS NULL) FROM glm_generate_batch('{hi,ho}')), '{f,f}', 'no arrays');
RESET ROLE;

-- ---- tokens ----
DELETE FROM chatglm.limits;
INSERT INTO chatglm.limits (role, tokens_per_day) VALUES ('glm_tap_user', 0);
SET ROLE glm_tap_user;
SELECT throws_like('SELECT pg_temp.ask()', 'role "glm_tap_user" has used up its limit tokens_per_day (% of 0 tokens)', 'no tokens a day');
RESET ROLE;
UPDATE chatglm.limits SET tokens_per_day = (SELECT prompt_tokens + completion_tokens + 1 FROM glm_usage WHERE usename = 'glm_tap_user');
SET ROLE glm_tap_user;
SELECT results_eq($$SELECT usename, name, most - used, until, value FROM glm_limits$$, $$VALUES ('glm_tap_user'::name, 'tokens_per_day', 1::bigint, NULL::timestamptz, NULL::text)$$, 'the role sees that one is left');
SELECT isnt(pg_temp.ask(), NULL, 'one is left: a request is computed to its end');
SELECT throws_ok('SELECT pg_temp.ask()', '53400', NULL, 'none is left');
SELECT ok((SELECT used > most AND until = (date_trunc('day', now() AT TIME ZONE 'UTC') + interval '1 day') AT TIME ZONE 'UTC' FROM glm_limits), 'and until when');
SELECT is((SELECT sqlstate FROM glm_try_generate('hi', max_tokens => 1)), '53400', 'not for rows either');
CREATE FUNCTION pg_temp.hint() RETURNS timestamptz LANGUAGE plpgsql AS $$
DECLARE hint text;
BEGIN
    PERFORM pg_temp.ask();
    RETURN NULL;
EXCEPTION WHEN configuration_limit_exceeded THEN
    GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
    RETURN substring(hint FROM 'after (.*?)\. ');
END $$;
SELECT is(pg_temp.hint(), (date_trunc('day', now() AT TIME ZONE 'UTC') + interval '1 day') AT TIME ZONE 'UTC', 'the hint says until when');
RESET ROLE;
DELETE FROM chatglm.limits;
INSERT INTO chatglm.limits (role, tokens_per_minute) VALUES ('glm_tap_user', 5);
SET ROLE glm_tap_user;
SELECT isnt(pg_temp.ask(), NULL, 'a minute''s tokens');
SELECT throws_matching('SELECT pg_temp.ask()', 'role "glm_tap_user" has used up its limit tokens_per_minute \(\d+ of 5 tokens\)', 'are used up');
SELECT ok(pg_temp.hint() BETWEEN clock_timestamp() AND clock_timestamp() + interval '10 minutes', 'until the surplus is paid off');
SELECT ok((SELECT name = 'tokens_per_minute' AND used >= most AND until - pg_temp.hint() BETWEEN interval '-1 second' AND interval '1 second' FROM glm_limits), 'which is shown, too');
-- ---- no way around ----
SELECT throws_ok('DO $$ BEGIN SET LOCAL ROLE NONE; PERFORM 1; SET LOCAL ROLE glm_tap_user; PERFORM glm_generate(''hi'', max_tokens => 1); END $$', '53400', NULL, 'not by changing the role to and fro');
RESET ROLE;
CREATE FUNCTION pg_temp.owned() RETURNS text LANGUAGE sql SECURITY DEFINER AS $$ SELECT glm_generate('hi', max_tokens => 1) $$;
ALTER FUNCTION pg_temp.owned OWNER TO glm_tap_owner;
GRANT EXECUTE ON FUNCTION pg_temp.owned TO PUBLIC;
SELECT isnt(pg_temp.owned(), NULL, 'a function of a role without limits');
INSERT INTO chatglm.limits (role, concurrent) VALUES ('glm_tap_owner', 0);
SELECT throws_ok('SELECT pg_temp.owned()', '53400', 'role "glm_tap_owner" has reached its limit concurrent (0 requests at a time)', 'of one with');
INSERT INTO chatglm.limits (role, concurrent) VALUES (session_user::regrole, 0);
SELECT throws_ok('SELECT pg_temp.ask()', '53400', NULL, 'a row that names a superuser is for him');
SET ROLE glm_tap_monitor;
SELECT throws_matching('SELECT pg_temp.ask()', 'has reached its limit concurrent', 'and counts in whatever role');
RESET ROLE;

-- ---- which row ----
DELETE FROM chatglm.limits;
INSERT INTO chatglm.limits (role, max_tokens) VALUES ('-', 5), ('glm_tap_group', 7), ('glm_tap_circle', 9);
SET chatglm.max_tokens = 100;
CREATE FUNCTION pg_temp.got() RETURNS int LANGUAGE sql AS $$ SELECT completion_tokens FROM glm_try_generate('hi', temperature => 100, top_p => 1, seed => 1) $$;
GRANT EXECUTE ON FUNCTION pg_temp.got TO PUBLIC;
SELECT is(pg_temp.got(), 100, 'that of all is not for superusers');
SET ROLE glm_tap_user;
SELECT is(pg_temp.got(), 5, 'but for the others');
SELECT results_eq('SELECT usename, name, most, used FROM glm_limits', $$VALUES ('glm_tap_user'::name, 'max_tokens', 5::bigint, NULL::bigint)$$, 'who see what holds for them');
SET ROLE glm_tap_member;
SELECT is(pg_temp.got(), 7, 'of groups the strictest, before that of all');
SELECT results_eq('SELECT usename, most FROM glm_limits ORDER BY 1', $$VALUES ('glm_tap_circle'::name, 9::bigint), ('glm_tap_group', 7), ('glm_tap_member', 7)$$, 'a member sees those of its groups, too');
SET ROLE glm_tap_monitor;
SELECT set_eq($$SELECT usename, most FROM glm_limits WHERE usename LIKE 'glm\_tap\_%'$$,
              $$VALUES ('glm_tap_circle'::name, 9::bigint), ('glm_tap_group', 7), ('glm_tap_member', 7), ('glm_tap_user', 5), ('glm_tap_owner', 5), ('glm_tap_counted', 5), ('glm_tap_monitor', 5)$$, 'members of pg_monitor see all');
SELECT is_empty($$SELECT * FROM glm_limits WHERE usename LIKE 'pg\_%'$$, 'of roles that ask');
SELECT is((SELECT count(*) FROM glm_limits WHERE usename = (SELECT rolname FROM pg_roles WHERE oid = 10)), 0::bigint, 'and superusers have none');
RESET ROLE;
INSERT INTO chatglm.limits (role, max_tokens) VALUES ('glm_tap_member', 11);
SET ROLE glm_tap_member;
SELECT is(pg_temp.got(), 11, 'its own before both');
RESET ROLE;
ALTER ROLE glm_tap_member RENAME TO glm_tap_renamed;
SET ROLE glm_tap_renamed;
SELECT is(pg_temp.got(), 11, 'another name does not change that');
RESET ROLE;
-- ---- all of them, as they are shown ----
DELETE FROM chatglm.limits;
INSERT INTO chatglm.limits VALUES ('glm_tap_group', 3, 4, 500, 600, 70, 80000, 'batch', '{a,"b ,c",d}', 'role'), ('glm_tap_circle', 5, 2, 0, NULL, 7000, 80, 'interactive', '{d,"b ,c"}', 'off');
SET ROLE glm_tap_renamed;
SELECT results_eq($$SELECT name, most, used, until, value FROM glm_limits WHERE usename = 'glm_tap_renamed'$$,
    $$VALUES ('concurrent', 3::bigint, 0::bigint, NULL::timestamptz, NULL::text), ('queued', 2, 0, NULL, NULL), ('tokens_per_minute', 0, 0, NULL, NULL),
             ('tokens_per_day', 600, (SELECT prompt_tokens + completion_tokens FROM glm_usage WHERE usename = 'glm_tap_renamed'), NULL, NULL), ('max_tokens', 70, NULL, NULL, NULL),
             ('timeout_ms', 80, NULL, NULL, NULL), ('priority', NULL, NULL, NULL, 'batch'), ('models', NULL, NULL, NULL, '{"b ,c",d}'), ('sharing', NULL, NULL, NULL, 'off')$$,
    'the strictest of each');
SELECT is((SELECT value::text[] FROM glm_limits WHERE usename = 'glm_tap_circle' AND name = 'models'), '{d,"b ,c"}', 'models are an array');
SELECT throws_ok('SELECT * FROM chatglm.limits', '42501', NULL, 'the table itself stays closed');
SET ROLE glm_tap_owner;
SELECT is_empty('SELECT * FROM glm_limits', 'who is in no group and has no row sees none');
SELECT throws_ok($$SELECT * FROM chatglm.role_limits('glm_tap_group'::regrole)$$, '42501', NULL, 'nor by the function behind it');
RESET ROLE;
UPDATE chatglm.limits SET models = '{}' WHERE role = 'glm_tap_circle'::regrole;
SELECT is((SELECT value FROM glm_limits WHERE usename = 'glm_tap_circle' AND name = 'models'), '{}', 'none at all');
-- ---- usage ----
DELETE FROM chatglm.limits;
SET ROLE glm_tap_counted;
SELECT isnt(pg_temp.ask(), NULL, 'a request');
SELECT is(glm_count_tokens('a') > 0, true, 'one that takes none');
SELECT throws_ok($$SELECT glm_detokenize('{-1}')$$, '22023', NULL, 'one that fails');
SELECT results_eq('SELECT datname, day, requests, completion_tokens, errors FROM glm_usage WHERE usename = current_user',
                  $$VALUES (current_database(), (now() AT TIME ZONE 'UTC')::date, 3::bigint, 2::bigint, 1::bigint)$$, 'all are counted');
SELECT ok((SELECT prompt_tokens > 2 FROM glm_usage WHERE usename = current_user), 'and tokens of prompts');
SET ROLE glm_tap_owner;
SELECT is_empty($$SELECT * FROM glm_usage WHERE usename = 'glm_tap_counted'$$, 'others do not see it');
SET ROLE glm_tap_monitor;
SELECT is((SELECT requests FROM glm_usage WHERE usename = 'glm_tap_counted'), 3::bigint, 'members of pg_monitor do');
RESET ROLE;
SELECT glm_stat_reset() \g /dev/null
SELECT is((SELECT requests FROM glm_usage WHERE usename = 'glm_tap_counted'), 3::bigint, 'glm_stat_reset does not lift limits');


-- ---- not what it was ----
INSERT INTO chatglm.limits (role, max_tokens) VALUES (session_user::regrole, 4);
SELECT is(pg_temp.got(), 4, 'a limit');
ALTER TABLE chatglm.limits DROP COLUMN models;
SELECT is(pg_temp.got(), 100, 'a table that is another has no limits');
SELECT is_empty('SELECT * FROM glm_limits', 'and shows none');

SELECT * FROM finish();
ROLLBACK;
