--
-- Streams: the same rows in every form of query, and the plans behind them.
-- That rows come as they are made is shown by test/t/test_stream.py.
--
CREATE TABLE prompt (id int PRIMARY KEY, body text);
INSERT INTO prompt VALUES (1, 'hello'), (2, 'Who are you?'), (3, NULL);

SELECT string_agg(token, '' ORDER BY seq) = glm_generate('Who are you?') AS text, count(finish_reason) AS finished, max(finish_reason) AS reason,
       bool_and(token_id IS NOT NULL AND logprob <= 0) AS complete
  FROM glm_stream('Who are you?');
SELECT seq, logprob IS NOT NULL AS logprob, finish_reason FROM glm_stream('Who are you?', max_tokens => 3);

-- in the select list, and in FROM
CREATE TABLE whole AS SELECT * FROM glm_stream('hello');
SELECT count(*) AS different FROM (
    (SELECT (s).* FROM (SELECT glm_stream('hello') AS s OFFSET 0) t EXCEPT TABLE whole) UNION ALL
    (SELECT * FROM glm_chat_stream('[{"role": "user", "content": "hello"}]') EXCEPT TABLE whole) UNION ALL
    (SELECT seq, token, token_id, logprob, finish_reason, top_logprobs FROM glm_stream('hello') WITH ORDINALITY EXCEPT TABLE whole)) d;

-- no prompt, no rows
SELECT * FROM glm_stream(NULL);
SELECT glm_stream(NULL);
SELECT * FROM glm_chat_stream(NULL);

-- alone in FROM it is a custom scan
EXPLAIN (COSTS OFF) SELECT * FROM glm_stream('hello');
EXPLAIN (VERBOSE, COSTS OFF) SELECT upper(token), seq * 2 AS twice FROM glm_chat_stream('[]') c WHERE seq > 1 LIMIT 2;
EXPLAIN (COSTS OFF) SELECT count(*) FROM glm_stream('hello', system => 'Be brief.', seed => 3);
-- a query below another can be asked twice: Material keeps what has come
EXPLAIN (COSTS OFF) SELECT id, (SELECT string_agg(token, '') FROM glm_stream(body)) FROM prompt;
EXPLAIN (COSTS OFF) WITH s AS (SELECT * FROM glm_stream('hello')) SELECT * FROM s LIMIT 1;
-- elsewhere it stays a function scan
EXPLAIN (COSTS OFF) SELECT * FROM prompt, glm_stream(body);
EXPLAIN (COSTS OFF) SELECT s FROM glm_stream('hello') s;
EXPLAIN (COSTS OFF) SELECT token FROM glm_stream('hello') s WHERE s IS NOT NULL;
EXPLAIN (COSTS OFF) SELECT * FROM glm_stream('hello') WITH ORDINALITY;
EXPLAIN (COSTS OFF) SELECT * FROM ROWS FROM (glm_stream('hello'), generate_series(1, 3)) r(seq, token, token_id, logprob, finish_reason, top_logprobs, n);

-- all of them give the rows
SELECT array_agg(seq * 10) = (SELECT array_agg(seq * 10) FROM whole) AS expressions FROM glm_stream('hello') WHERE token IS NOT NULL;
SELECT seq FROM glm_stream('hello') WHERE seq > 1 LIMIT 2;
SELECT seq FROM glm_stream('hello') ORDER BY seq DESC OFFSET 1 LIMIT 1;
SELECT id, (SELECT string_agg(token, '' ORDER BY seq) FROM glm_stream(body)) = glm_generate(body) AS same FROM prompt ORDER BY id;
SELECT id, string_agg(token, '' ORDER BY seq) = glm_generate(body) AS same FROM prompt, glm_stream(body) GROUP BY id ORDER BY id;
SELECT string_agg(token, '' ORDER BY seq) = glm_generate('hello') AS initplan FROM glm_stream((SELECT body FROM prompt WHERE id = 1));
WITH s AS (SELECT * FROM glm_stream('hello')) SELECT count(*) = (SELECT count(*) FROM whole) AS twice FROM s a JOIN s b USING (seq);
SELECT id, array_agg(seq) AS rescanned FROM prompt LEFT JOIN (SELECT seq FROM glm_stream('hello') LIMIT 2) s ON s.seq <> id GROUP BY id ORDER BY id;
SELECT count(s) = (SELECT count(*) FROM whole) AS "whole rows" FROM glm_stream('hello') s;
SELECT count(*) AS never FROM glm_stream('hello') WHERE (SELECT count(*) FROM prompt) = 0;

-- prepared, with arguments; a generic plan follows the function's fate
SET plan_cache_mode = force_generic_plan;
PREPARE ask(text, int) AS SELECT seq FROM glm_stream($1, max_tokens => $2);
EXECUTE ask('Who are you?', 2);
EXECUTE ask('Who are you?', 1);
EXECUTE ask(NULL, 1);
EXPLAIN (COSTS OFF) EXECUTE ask('Who are you?', 2);
ALTER FUNCTION glm_stream SET work_mem = '1MB';
EXPLAIN (COSTS OFF) EXECUTE ask('Who are you?', 2);
ALTER FUNCTION glm_stream RESET ALL;
EXPLAIN (COSTS OFF) EXECUTE ask('Who are you?', 2);
RESET plan_cache_mode;

-- EXPLAIN ANALYZE counts what was generated, which a LIMIT bounds
CREATE FUNCTION tokens_of(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE plan json;
BEGIN
    EXECUTE 'EXPLAIN (ANALYZE, FORMAT JSON) ' || query INTO plan;
    RETURN plan#>>'{0,Plan,Plans,0,Tokens}';
END $$;
SELECT tokens_of($$SELECT * FROM glm_stream('Who are you?') WHERE seq > 1 LIMIT 2$$) AS "1 filtered, 2 passed";

-- cursors; SCROLL gets a Material, others go forward only
BEGIN;
DECLARE c CURSOR FOR SELECT seq FROM glm_stream('hello', temperature => 100, top_p => 1, seed => 1, max_tokens => 60);
FETCH 2 FROM c;
FETCH 1 FROM c;
-- (it waits for its reader, so it is still there to be seen)
SELECT kind, model, usename = current_user AS mine, datname = current_database() AS here, in_flight
  FROM glm_stat_requests WHERE pid = pg_backend_pid();
CLOSE c;
DECLARE s SCROLL CURSOR FOR SELECT seq FROM glm_stream('Who are you?', max_tokens => 5);
FETCH 3 FROM s;
FETCH BACKWARD 1 FROM s;
FETCH FIRST FROM s;
FETCH LAST FROM s;
DECLARE h CURSOR WITH HOLD FOR SELECT seq FROM glm_stream('Who are you?', max_tokens => 4);
FETCH 1 FROM h;
COMMIT;
FETCH ALL FROM h;
CLOSE h;

-- a stream whose first row was rolled back is gone, the transaction is not
BEGIN;
DECLARE c CURSOR FOR SELECT seq FROM glm_stream('Who are you?', max_tokens => 5);
SAVEPOINT a;
FETCH 1 FROM c;
ROLLBACK TO a;
FETCH 1 FROM c;
ROLLBACK TO a;
SELECT glm_count_tokens('hello') > 0 AS "goes on";
COMMIT;

-- loops
DO $$
DECLARE r record;
BEGIN
    FOR r IN SELECT * FROM glm_stream('Who are you?') LOOP
        EXIT WHEN r.seq = 3;
    END LOOP;
    BEGIN
        FOR r IN SELECT * FROM glm_stream('Who are you?') LOOP
            PERFORM 1 / (2 - r.seq);
        END LOOP;
    EXCEPTION WHEN division_by_zero THEN
        RAISE NOTICE 'caught at %', r.seq;
    END;
END $$;

-- views, functions, INSERT, COPY
CREATE VIEW stream_view AS SELECT seq, token FROM glm_stream('hello');
EXPLAIN (COSTS OFF) SELECT token FROM stream_view WHERE seq = 2;
CREATE FUNCTION stream_of(prompt text) RETURNS TABLE (n int) LANGUAGE sql AS $$ SELECT seq FROM glm_stream(prompt, max_tokens => 2) $$;
SELECT * FROM stream_of('hello');
INSERT INTO prompt SELECT seq + 10, '' FROM glm_stream('hello', max_tokens => 2);
SELECT id FROM prompt WHERE id > 10 ORDER BY id;
COPY (SELECT seq FROM glm_stream('hello', max_tokens => 2)) TO STDOUT;

-- EXECUTE on the function is asked for, in either plan
CREATE ROLE regress_glm_reader;
REVOKE EXECUTE ON FUNCTION glm_stream FROM PUBLIC;
SET ROLE regress_glm_reader;
SELECT token FROM glm_stream('hello');
SELECT s FROM glm_stream('hello') s;
RESET ROLE;
GRANT EXECUTE ON FUNCTION glm_stream TO PUBLIC;
DROP ROLE regress_glm_reader;

-- nothing is left of all these, once the worker has seen the last ones go
DO $$
DECLARE deadline timestamptz := clock_timestamp() + interval '2 min';
BEGIN
    WHILE EXISTS (SELECT FROM glm_stat_requests WHERE pid = pg_backend_pid()) LOOP
        IF clock_timestamp() > deadline THEN
            RAISE 'requests are left';
        END IF;
        PERFORM pg_sleep(0.01);
    END LOOP;
END $$;

DROP VIEW stream_view;
DROP FUNCTION stream_of, tokens_of;
DROP TABLE prompt, whole;
