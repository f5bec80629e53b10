-- job_create.sql - what glm_job_create takes and refuses, and who may do what with a job.
\set ON_ERROR_STOP on
\set QUIET on
BEGIN;
CREATE ROLE glm_tap_owner;
CREATE ROLE glm_tap_other;
CREATE SCHEMA tap_job;
GRANT USAGE, CREATE ON SCHEMA tap_job TO glm_tap_owner, glm_tap_other;
SET LOCAL search_path = tap_job, public;
SET LOCAL client_min_messages = warning;
SELECT plan(88);

CREATE TABLE ticket (id bigint PRIMARY KEY, body text, title varchar(20), queue text, n int, tags text[], gone int,
                     up text GENERATED ALWAYS AS (upper(body)) STORED, maybe int UNIQUE, CHECK (n < 1000));
ALTER TABLE ticket DROP COLUMN gone;
CREATE TABLE pair (a int, b date, body text, answer text, tokens int, finish text, PRIMARY KEY (a, b));
CREATE VIEW seen AS SELECT * FROM ticket;
CREATE FUNCTION wrapped(content text) RETURNS text LANGUAGE plpgsql AS $$BEGIN RETURN glm_generate(content, max_tokens => 2); END$$;
CREATE FUNCTION tries(name text, source regclass, key text, target text, call text, options jsonb DEFAULT NULL) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM glm_job_create(name, source, key, target, call, options);
    RETURN 'made';
EXCEPTION WHEN OTHERS THEN RETURN SQLSTATE;
END$$;
\set call '$$glm_generate(body, max_tokens => 4)$$'

-- ---- what is taken ----
SELECT is(tries('one', 'ticket', 'id', 'queue', :call), 'made', 'a job');
SELECT is((SELECT call FROM chatglm.job WHERE name = 'one'), 'public.glm_generate(t.body, max_tokens => 4)', 'names are qualified');
SELECT is((SELECT (owner::text, source::text, key, target, state)::text FROM chatglm.job WHERE name = 'one'),
          (current_user, 'ticket', '{id}'::name[], '{queue}'::name[], 'created')::text, 'its row');
SELECT is(tries('one', 'ticket', 'id', 'queue', :call), '42710', 'a name twice');
SELECT is(tries('two', 'pair', 'a, b', 'answer', :call), 'made', 'a key of two columns');
SELECT is(tries('three', 'pair', 'b,a', 'answer, tokens', $$glm_try_generate(body)$$), 'made', 'fields in their order');
SELECT is(tries('four', 'ticket', 'id', 'queue', $$glm_try_generate(ticket.body) -- first field$$), 'made', 'the first field; the table''s name; a comment');
SELECT is(tries('five', 'ticket', 'id', 'queue', $$glm_generate(row_to_json(ticket)::text)$$), 'made', 'a whole row');
SELECT is(tries('six', 'ticket', 'id', 'tags', $$ARRAY[glm_generate(body)]$$), 'made', 'an array');
SELECT is(tries('seven', 'ticket', 'id', 'n', $$length(glm_generate(body))$$, '{"where": "queue IS NULL", "chunk": 50, "chunk_seconds": 2.5,
          "attempts": 2, "backoff": 0.5, "deadline": "2999-01-01", "tokens_per_minute": 1000, "rows_per_minute": 10, "priority": -3, "mode": "once", "replicated": null}'),
          'made', 'every option');
SELECT is((SELECT (condition, (options->>'deadline')::timestamptz)::text FROM chatglm.job WHERE name = 'seven'),
          ('(t.queue IS NULL)', '2999-01-01'::timestamptz)::text, 'the condition is qualified, the deadline a time');
SELECT is(tries('eight', 'ticket', 'id', '"queue"', :call, '{"where": null, "deadline": null}'), 'made', 'quoted names, null options');
SELECT is(tries('constant', 'ticket', 'id', 'queue', $$'x'$$), 'made', 'a literal');

-- ---- text that is no expression ----
SELECT is(tries('x ' || bad, 'ticket', 'id', 'queue', bad), state, 'call: ' || bad) FROM (VALUES
    ('1) FROM ticket; CREATE TABLE pwn(a int); SELECT (1', '42601'), ('body, title', 'made'), ('1), (2', '42601'),
    ('body) FROM ticket --', '42601'), ('body) AS x --', '42601'), ('count(*)', '0A000'), ('generate_series(1, 3)', '0A000'),
    ('row_number() OVER ()', '0A000'), ('*', '42601'), ('$1', '42P02'), ('', '42601'), ('body -- )', 'made'), ('nosuch', '42703'),
    ('nosuch(body)', '42883'), ('ctid::text', '0A000'), ('other.body', '42P01'), ('1) UNION SELECT (2', '42601')) AS t (bad, state);
SELECT hasnt_table('tap_job', 'pwn', 'and nothing was run');
SELECT is(tries('x1 ' || bad, 'ticket', 'id', 'queue', :call, jsonb_build_object('where', bad)), state, 'where: ' || bad) FROM (VALUES
    ('true) OR (SELECT true', 'made'), ('1', '42804'), ('sum(n) > 1', '0A000'), ('glm_generate(body) = ''x''', '0A000'),
    ('true; DELETE FROM ticket', '42601')) AS t (bad, state);

-- ---- keys and targets ----
SELECT is(tries('x', 'ticket', k, t, c), state, what) FROM (VALUES
    ('body', 'queue', 'title', '22023', 'a key that is not unique'), ('maybe', 'queue', 'title', '22023', 'a key that may be null'),
    ('id, body', 'queue', 'title', '22023', 'more than the key'), ('nosuch', 'queue', 'title', '42703', 'no such key'),
    ('id, id', 'queue', 'title', '42701', 'a key twice'), ('ctid', 'queue', 'title', '0A000', 'a system column'),
    ('id', 'nosuch', 'title', '42703', 'no such target'), ('id', 'id', '7', '22023', 'the key as target'),
    ('id', 'body', 'glm_generate(body)', '22023', 'its own input as target'), ('id', 'up', 'title', '428C9', 'a generated column'),
    ('id', 'tags', 'title', '42804', 'a type that cannot be assigned'), ('id', 'queue, n', 'title', '22023', 'more targets than values'),
    ('id', '', 'title', '22023', 'no target'), ('id', 'queue, queue', 'glm_try_generate(title)', '42701', 'a target twice')) AS t (k, t, c, state, what);
SELECT is(tries('x', 'seen', 'id', 'queue', :call), '42809', 'a view');
SELECT is(tries('x', 'pg_class', 'oid', 'relname', $$relname$$), '42501', 'a catalog');
CREATE TEMP TABLE temporary (id int PRIMARY KEY, body text, answer text);
SELECT is(tries('x', 'temporary', 'id', 'answer', :call), '0A000', 'a temporary table');

-- ---- options ----
SELECT is(tries('x', 'ticket', 'id', 'queue', :call, bad), '22023', 'options: ' || bad::text) FROM (VALUES
    ('{"chunks": 5}'::jsonb), ('{"chunk": 0}'), ('{"chunk": "5"}'), ('{"chunk": 1.5}'), ('{"mode": "twice"}'), ('{"where": 1}'),
    ('{"attempts": 0}'), ('{"replicated": true}'), ('[]'), ('{"priority": true}')) AS t (bad);
SELECT is(tries('x', 'ticket', 'id', 'queue', :call, '{"deadline": "soon"}'), '22007', 'a deadline that is no time');

-- ---- privileges ----
SET LOCAL ROLE glm_tap_owner;
SELECT is(tries('y', 'ticket', 'id', 'queue', :call), '42501', 'nobody''s table but its owner''s');
RESET ROLE;
GRANT SELECT (id, body), UPDATE (queue) ON ticket TO glm_tap_owner;
SET LOCAL ROLE glm_tap_owner;
SELECT is(tries('y', 'ticket', 'id', 'queue', :call), 'made', 'columns are enough');
SELECT is(tries('z', 'ticket', 'id', 'queue', 'title'), '42501', 'an input that may not be read');
SELECT is(tries('z', 'ticket', 'id', 'n', 'length(body)'), '42501', 'a target that may not be written');
SELECT is(tries('z', 'ticket', 'id', 'queue', 'body', '{"mode": "continuous"}'), '42501', 'changes need TRIGGER');
SELECT is((SELECT string_agg(name, ',' ORDER BY name) FROM glm_jobs), 'y', 'one sees one''s own');
SELECT throws_ok($$SELECT * FROM chatglm.job$$, '42501', NULL, 'and not the table');
SELECT throws_ok($$SELECT glm_job_drop('one')$$, '42501', NULL, 'another''s is not one''s to drop');
SELECT throws_ok($$SELECT glm_job_start('one')$$, '42501', NULL, 'nor to start');
SELECT throws_ok($$SELECT glm_job_drop('nosuch')$$, '42704', NULL, 'one that is not there');
SET LOCAL ROLE glm_tap_other;
SELECT is((SELECT count(*) FROM glm_jobs), 0::bigint, 'others see nothing');
RESET ROLE;
GRANT glm_tap_owner TO glm_tap_other;
SET LOCAL ROLE glm_tap_other;
SELECT is((SELECT count(*) FROM glm_jobs), 1::bigint, 'members do');
SELECT lives_ok($$SELECT glm_job_drop('y')$$, 'and may drop it');
RESET ROLE;

-- ---- states ----
SELECT throws_ok($$SELECT glm_job_pause('one')$$, '55000', NULL, 'what does not run cannot be paused');
SELECT throws_ok($$SELECT glm_job_sync('one')$$, '55000', NULL, 'nor synced');
SELECT lives_ok($$SELECT glm_job_cancel('one')$$, 'it can be cancelled');
SELECT is((SELECT state FROM glm_jobs WHERE name = 'one'), 'cancelled', 'and is');
SELECT throws_ok($$CALL glm_job_run('two')$$, '2D000', NULL, 'it does not run in a transaction');
SELECT lives_ok($$SELECT glm_job_start(NULL)$$, 'NULL');

-- ---- the trigger ----
SELECT is(tries('follow', 'ticket', 'id', 'queue', :call, '{"mode": "continuous", "where": "n > 1"}'), 'made', 'one that follows changes');
SELECT is((SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgrelid = 'ticket'::regclass),
          'CREATE TRIGGER chatglm_job_follow AFTER INSERT OR UPDATE ON tap_job.ticket FOR EACH ROW EXECUTE FUNCTION chatglm.job_row(''follow'', ''1'', ''id'', ''body'', ''n'')',
          'its trigger watches what it reads');
INSERT INTO ticket (id, body) VALUES (1, 'x');
SELECT is((SELECT count(*) FROM chatglm.job_change), 0::bigint, 'which is silent before the job is begun');
SELECT lives_ok($$SELECT glm_job_drop('follow')$$, 'dropping it');
SELECT is((SELECT count(*) FROM pg_trigger WHERE tgrelid = 'ticket'::regclass), 0::bigint, 'takes the trigger along');

SELECT * FROM finish();
ROLLBACK;
