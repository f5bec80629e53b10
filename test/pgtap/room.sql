-- room.sql - room in the worker's queue: its settings, and what glm_health() shows of it.
\set ON_ERROR_STOP on
\set QUIET on
BEGIN;
SELECT plan(11);

SELECT is(current_setting('chatglm.queue_memory'), '256MB', 'queue_memory');
SELECT results_eq($$SELECT context, unit, min_val, boot_val FROM pg_settings WHERE name = 'chatglm.queue_memory'$$,
                  $$VALUES ('postmaster', 'MB', '1', '256')$$, 'is the administrator''s, in MB, and never 0');
SELECT throws_ok($$SET chatglm.queue_memory = '1GB'$$, '55P02', NULL, 'queue_memory is set at start');

SELECT is(ARRAY(SELECT k FROM unnest('{queue_requests,queue_bytes,queue_memory_bytes}'::text[]) k WHERE NOT glm_health() ? k), '{}', 'keys of glm_health');
SELECT is((glm_health()->>'queue_memory_bytes')::bigint, 256 * 1048576::bigint, 'the budget in bytes');
SELECT is((glm_health()->>'queue_requests')::int, 0, 'nothing is taken');
SELECT is((glm_health()->>'queue_bytes')::bigint, 0::bigint, 'nor any byte');

-- what is taken comes back, however a request ends
SELECT is(glm_count_tokens(repeat('word ', 200000)), 600001, 'a long text in pieces');
SELECT throws_ok($$SELECT glm_generate(repeat('word ', 20000))$$, '54000', NULL, 'one that fails');
CREATE TEMP TABLE answered AS SELECT count(glm_generate('hello ' || i, max_tokens => 2)) AS n FROM generate_series(1, 100) i;
SELECT is(n, 100::bigint, 'rows in flight') FROM answered;
CREATE FUNCTION pg_temp.nothing_taken() RETURNS bool LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1 .. 6000 LOOP
        IF (glm_health()->>'queue_requests')::int = 0 AND (glm_health()->>'queue_bytes')::bigint = 0 THEN
            RETURN true;
        END IF;
        PERFORM pg_sleep(0.02);
    END LOOP;
    RETURN false;
END $$;
SELECT ok(pg_temp.nothing_taken(), 'nothing stays taken');

SELECT * FROM finish();
ROLLBACK;
