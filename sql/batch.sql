--
-- Rows in flight: where the plan node GlmBatch comes to be, that it changes no
-- answer, and that it asks for no row too many.
-- What it is like from outside is shown by test/t/test_batch.py.
--
\pset format unaligned
CREATE TABLE doc (id int PRIMARY KEY, kind int, body text, answer text);
INSERT INTO doc SELECT i, i % 3, CASE WHEN i % 10 = 0 THEN NULL ELSE 'Text number ' || i || repeat(' and so on', i % 7) END
  FROM generate_series(1, 60) i;
ANALYZE doc;

-- what EXPLAIN says of a query, without what changes from run to run
CREATE FUNCTION plan_of(query text, options text DEFAULT 'COSTS OFF') RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
    line text;
BEGIN
    FOR line IN EXECUTE format('EXPLAIN (%s) %s', options, query) LOOP
        -- 18 has lines and digits of its own
        IF line !~ '^ *(Buffers|Planning|Window):' THEN
            RETURN NEXT regexp_replace(regexp_replace(line, '(Mean in Flight|Memory Usage): .*', '\1: N'), 'rows=(\d+)\.00', 'rows=\1');
        END IF;
    END LOOP;
END $$;
-- how many requests its nodes made
CREATE FUNCTION requests_of(query text) RETURNS bigint LANGUAGE sql AS $$
    SELECT sum(substring(line FROM 'Requests: (\d+)')::int)
      FROM plan_of(query, 'ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF') line $$;
-- whether it gives the same rows in the same order, one by one and batched
CREATE FUNCTION same_rows(query text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    rows text[];
    one_by_one text;
BEGIN
    FOREACH one_by_one IN ARRAY ARRAY['1', '32', '3'] LOOP
        PERFORM set_config('chatglm.prefetch', one_by_one, true);
        EXECUTE format('SELECT %L::text[] || array_agg(format(''%%s'', q))::text FROM (%s) q', rows, query) INTO rows;
    END LOOP;
    RETURN rows[1] = rows[2] AND rows[1] = rows[3];
END $$;

-- ---- plans ----
EXPLAIN (VERBOSE, COSTS OFF) SELECT id, upper(glm_detokenize(ARRAY[id])) || body FROM doc;
-- WHERE before the select list, and what stands behind a call stays behind it
EXPLAIN (VERBOSE, COSTS OFF) SELECT id, glm_tokenize(body) FROM doc WHERE glm_count_tokens(body) > 5 AND kind = 1;
-- calls of calls
EXPLAIN (VERBOSE, COSTS OFF) SELECT glm_detokenize(glm_tokenize(body)), glm_count_tokens(body) FROM doc;
EXPLAIN (COSTS OFF) SELECT kind, sum(glm_count_tokens(body)) FROM doc GROUP BY kind HAVING glm_count_tokens(max(body)) > 1;
EXPLAIN (COSTS OFF) SELECT glm_count_tokens(body), count(*) FROM doc GROUP BY 1;
EXPLAIN (COSTS OFF) SELECT a.id FROM doc a JOIN doc b ON a.kind = b.id WHERE glm_count_tokens(a.body || b.body) > 5;
EXPLAIN (COSTS OFF) UPDATE doc SET answer = glm_detokenize(ARRAY[id]);
EXPLAIN (COSTS OFF) DELETE FROM doc WHERE glm_count_tokens(body) = 0;
EXPLAIN (COSTS OFF) INSERT INTO doc SELECT id + 100, kind, glm_detokenize(ARRAY[id]) FROM doc;
EXPLAIN (VERBOSE, COSTS OFF) SELECT (glm_tokenize(body))[2], (glm_try_generate(body)).error FROM doc;
EXPLAIN (COSTS OFF) SELECT sum(id) FILTER (WHERE glm_count_tokens(body) > 5) FROM doc;

-- one by one: nothing says that the call will be made, or the order matters
EXPLAIN (COSTS OFF) SELECT CASE WHEN id > 1 THEN glm_count_tokens(body) END FROM doc;
EXPLAIN (COSTS OFF) SELECT coalesce(answer, glm_detokenize(ARRAY[id])) FROM doc;
EXPLAIN (COSTS OFF) SELECT id FROM doc WHERE id = 1 OR glm_count_tokens(body) > 5;
SELECT * FROM plan_of('SELECT sum(glm_count_tokens(body)) OVER () FROM doc');
EXPLAIN (COSTS OFF) SELECT glm_count_tokens(body), generate_series(1, 2) FROM doc;
EXPLAIN (COSTS OFF) UPDATE doc SET answer = 'x' RETURNING glm_count_tokens(body);
EXPLAIN (COSTS OFF) SELECT glm_count_tokens('hello');
EXPLAIN (COSTS OFF) DECLARE c SCROLL CURSOR FOR SELECT glm_count_tokens(body) FROM doc;
SET chatglm.prefetch = 1;
EXPLAIN (COSTS OFF) SELECT glm_count_tokens(body) FROM doc;
RESET chatglm.prefetch;
-- a function of another owner's choosing keeps its own
CREATE FUNCTION careful(content text, model text) RETURNS int LANGUAGE c SET work_mem = '1MB' AS '$libdir/chatglm', 'chatglm_count_tokens';
EXPLAIN (COSTS OFF) SELECT careful(body, NULL) FROM doc;
-- one that is inlined is ours
CREATE FUNCTION inlined(content text) RETURNS int LANGUAGE sql AS 'SELECT glm_count_tokens(content) + 1';
EXPLAIN (VERBOSE, COSTS OFF) SELECT inlined(body) FROM doc;
SELECT * FROM plan_of('SELECT glm_count_tokens(body) FROM doc WHERE id > 50', 'ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF');

-- ---- the same answers ----
SELECT query, same_rows(query) FROM (VALUES
    ('SELECT id, glm_generate(body, max_tokens => 1 + id % 9), body FROM doc'),
    ('SELECT id, glm_generate(body, temperature => 2, seed => id, max_tokens => 6) FROM doc'),
    ('SELECT id, glm_complete(body, max_tokens => 3) || glm_detokenize(ARRAY[id]) FROM doc'),
    ('SELECT id, glm_chat(jsonb_build_array(jsonb_build_object(''role'', ''user'', ''content'', body)), max_tokens => 3) #- ''{usage,prompt_tokens_details}'' FROM doc WHERE body IS NOT NULL'),
    ('SELECT id, glm_chat_tokens(jsonb_build_array(jsonb_build_object(''role'', ''user'', ''content'', body))) FROM doc WHERE body IS NOT NULL'),
    ('SELECT id, md5(glm_logits(glm_tokenize(body, add_special => true))::text) FROM doc'),
    ('SELECT id, glm_try_generate(nullif(body, ''''), max_tokens => 2) FROM doc'),
    ('SELECT id, (glm_tokenize(body))[2] FROM doc ORDER BY body DESC'),
    ('SELECT DISTINCT glm_count_tokens(body) FROM doc'),
    ('SELECT id FROM doc WHERE glm_count_tokens(body) % 2 = 0 AND 1 / (glm_count_tokens(body) % 2 - 1) < 0'),
    ('SELECT kind, sum(glm_count_tokens(body)), string_agg(glm_detokenize(ARRAY[id]), '','' ORDER BY id DESC) FROM doc GROUP BY kind ORDER BY 1'),
    ('SELECT glm_count_tokens(max(body)), count(*) FROM doc GROUP BY kind HAVING glm_count_tokens(min(body)) > 1 ORDER BY 1'),
    ('SELECT glm_count_tokens(body) n, count(*) FROM doc GROUP BY ROLLUP (1) ORDER BY 1'),
    ('SELECT a.id, glm_count_tokens(a.body || b.body) FROM doc a LEFT JOIN doc b ON b.id = a.id + 1 AND glm_count_tokens(b.body) > 9 ORDER BY 1'),
    ('SELECT a.id, b.id FROM doc a JOIN doc b ON a.kind = b.id WHERE glm_count_tokens(a.body) > glm_count_tokens(b.body)'),
    ('SELECT id, l.n FROM doc, LATERAL (SELECT glm_count_tokens(body || x) n FROM generate_series(1, 2) x OFFSET 0) l WHERE id < 5'),
    ('SELECT id, (SELECT glm_count_tokens(doc.body)), ARRAY(SELECT glm_count_tokens(body || x) FROM generate_series(1, 3) x) FROM doc'),
    ('WITH c AS (SELECT id, glm_count_tokens(body) n FROM doc) SELECT a.n, b.n FROM c a JOIN c b ON b.id = a.id + 1 ORDER BY a.id'),
    ('WITH RECURSIVE r(i, n) AS (SELECT 1, 0 UNION ALL SELECT i + 1, glm_count_tokens(repeat(''a b '', i)) FROM r WHERE i < 5) SELECT * FROM r'),
    ('SELECT glm_count_tokens(body) FROM doc WHERE id < 9 UNION ALL SELECT glm_count_tokens(body) FROM doc WHERE id > 50'),
    ('SELECT id, rank() OVER (ORDER BY glm_count_tokens(body), id) FROM doc ORDER BY 1'),
    ('SELECT glm_count_tokens(body), CASE WHEN id > 3 THEN glm_count_tokens(body) END, coalesce(body, glm_detokenize(ARRAY[id])) FROM doc'),
    ('SELECT d, d.ctid, d.tableoid::regclass, glm_count_tokens(d.body) FROM doc d'),
    ('SELECT id FROM doc WHERE body IN (SELECT glm_detokenize(glm_tokenize(body)) FROM doc WHERE id < 5) ORDER BY 1'),
    ('SELECT glm_count_tokens(x) FROM (VALUES (''a''), (''b c'')) v(x)'),
    ('SELECT glm_count_tokens(''the same'') FROM doc WHERE kind = 1'),
    ('SELECT a.id FROM (SELECT id, glm_count_tokens(body) n FROM doc OFFSET 0) a FULL JOIN (SELECT glm_count_tokens(body) n FROM doc WHERE id < 9 OFFSET 0) b USING (n) ORDER BY 1'),
    ('SELECT inlined(body), concat_ws('','', glm_count_tokens(body), glm_count_tokens(body || 1), glm_count_tokens(body || 2)) FROM doc')
) q(query);

-- ---- never more than is wanted ----
SELECT query, requests_of(query) FROM (VALUES
    ('SELECT glm_count_tokens(body) FROM doc WHERE body IS NOT NULL LIMIT 3'),
    ('SELECT glm_count_tokens(body) FROM doc WHERE body IS NOT NULL LIMIT 3 OFFSET 2'),
    ('SELECT glm_count_tokens(body) FROM doc WHERE body IS NOT NULL ORDER BY id DESC LIMIT 4'),
    ('SELECT id FROM doc WHERE id <> 10 AND glm_count_tokens(body) > 0 LIMIT 9'),
    ('SELECT glm_count_tokens(body), glm_tokenize(body) FROM doc WHERE body IS NOT NULL LIMIT 2'),
    ('SELECT glm_detokenize(glm_tokenize(body)) FROM doc WHERE glm_count_tokens(body) > 0 LIMIT 2'),
    ('SELECT * FROM (SELECT glm_count_tokens(body) FROM doc WHERE body IS NOT NULL LIMIT 7) s LIMIT 5'),
    ('WITH c AS (SELECT id, glm_count_tokens(body) FROM doc WHERE body IS NOT NULL) SELECT * FROM c LIMIT 4'),
    ('WITH c AS (SELECT id, glm_count_tokens(body) FROM doc WHERE body IS NOT NULL) SELECT * FROM c a JOIN c b USING (id) LIMIT 4'),
    ('SELECT glm_count_tokens(body) FROM doc WHERE id < 3 UNION ALL SELECT glm_count_tokens(body) FROM doc WHERE kind = 1 LIMIT 6'),
    ('SELECT x.n FROM (SELECT glm_count_tokens(body) n FROM doc OFFSET 0) x, generate_series(1, 2) LIMIT 1'),
    ('SELECT glm_count_tokens(body) FROM doc LIMIT 0'),
    ('SELECT glm_count_tokens(body) FROM doc LIMIT NULL OFFSET 3')
) q(query);
PREPARE first_rows(int) AS SELECT glm_count_tokens(body) FROM doc WHERE id > 20 LIMIT $1;
SET plan_cache_mode = force_generic_plan;
SELECT requests_of('EXECUTE first_rows(2)'), requests_of('EXECUTE first_rows(5)');
RESET plan_cache_mode;

-- ---- statements that write ----
CREATE TABLE copy_of AS SELECT id, glm_detokenize(glm_tokenize(body)) AS body FROM doc;
INSERT INTO copy_of SELECT id + 100, glm_detokenize(glm_tokenize(body)) FROM doc;
SELECT count(*) AS different FROM copy_of c JOIN doc d ON d.id = c.id % 100 WHERE c.body IS DISTINCT FROM d.body;
UPDATE doc SET answer = glm_detokenize(glm_tokenize(body)) || '!';
SELECT count(*) AS different FROM doc WHERE answer <> body || '!' OR (answer IS NULL) <> (body IS NULL);
UPDATE copy_of c SET body = glm_detokenize(glm_tokenize(d.body || c.id)) FROM doc d WHERE d.id = c.id;
SELECT count(*) AS different FROM copy_of c JOIN doc d USING (id) WHERE c.body <> d.body || c.id;
UPDATE doc d SET (kind, answer) = (SELECT d.kind, 'm') WHERE glm_count_tokens(body) > 0 AND id < 4;
UPDATE doc d SET kind = glm_count_tokens(body), (answer, body) = (SELECT c.body, d.body FROM copy_of c WHERE c.id = d.id) WHERE id < 4;
SELECT id, kind = glm_count_tokens(body) AS counted, answer = body || id AS copied FROM doc WHERE id < 4 ORDER BY id;
DELETE FROM copy_of WHERE id > 100 AND glm_count_tokens(body) > 8;
SELECT count(*) = (SELECT count(*) FROM doc WHERE glm_count_tokens(body) <= 8 OR body IS NULL) AS deleted FROM copy_of WHERE id > 100;
COPY (SELECT glm_detokenize(glm_tokenize(body)) FROM doc WHERE id BETWEEN 8 AND 12) TO STDOUT;
DO $$
DECLARE
    r record;
    n int := 0;
BEGIN
    FOR r IN SELECT id, glm_count_tokens(body) AS tokens FROM doc ORDER BY id LOOP
        IF r.tokens IS DISTINCT FROM glm_count_tokens((SELECT body FROM doc WHERE id = r.id)) THEN
            RAISE 'wrong';
        END IF;
        n := n + 1;
    END LOOP;
    RAISE NOTICE '% rows', n;
END $$;

-- ---- loops in loops take no more requests than a session has ----
DO $$
DECLARE
    a record; b record; c record; d int := 0;
BEGIN
    FOR a IN SELECT glm_generate(body, max_tokens => 1) FROM doc LIMIT 40 LOOP
        FOR b IN SELECT glm_generate(body, max_tokens => 1) FROM doc LIMIT 33 LOOP
            FOR c IN SELECT glm_generate(body, max_tokens => 1) FROM doc WHERE id < 40 LOOP
                d := d + glm_count_tokens('one more');
                EXIT WHEN true;
            END LOOP;
            EXIT WHEN d > 30;
        END LOOP;
    END LOOP;
    RAISE NOTICE '%', d > 30;
END $$;

-- ---- cursors ----
BEGIN;
DECLARE c CURSOR FOR SELECT id, glm_count_tokens(body) > 0 AS counted FROM doc ORDER BY id;
FETCH 2 FROM c;
SAVEPOINT s;
FETCH 2 FROM c;
ROLLBACK TO s;
-- what was in flight went with the savepoint; the rows are asked for again
FETCH 2 FROM c;
MOVE 40 FROM c;
FETCH 1 FROM c;
CLOSE c;
DECLARE c SCROLL CURSOR FOR SELECT id, glm_count_tokens(body) > 0 AS counted FROM doc ORDER BY id;
FETCH 2 FROM c;
FETCH BACKWARD 1 FROM c;
COMMIT;
BEGIN;
DECLARE h CURSOR WITH HOLD FOR SELECT id, glm_count_tokens(body) > 0 AS counted FROM doc ORDER BY id;
COMMIT;
FETCH 2 FROM h;
CLOSE h;

-- ---- errors in their turn ----
BEGIN;
DECLARE c CURSOR FOR SELECT id, glm_generate('hi', model => CASE WHEN id = 4 THEN 'nonesuch' END, max_tokens => 1) IS NULL AS "null" FROM doc ORDER BY id;
FETCH 3 FROM c;
FETCH 1 FROM c;
ROLLBACK;
-- beyond a LIMIT there are none
SELECT id, glm_generate('hi', model => CASE WHEN id = 4 THEN 'nonesuch' END, max_tokens => 1) IS NULL AS "null" FROM doc ORDER BY id LIMIT 3;
DO $$
BEGIN
    PERFORM glm_generate(body, model => CASE WHEN id = 41 THEN 'nonesuch' END, max_tokens => 1) FROM doc;
EXCEPTION WHEN undefined_object THEN
    RAISE NOTICE 'caught: %', SQLERRM;
END $$;

-- ---- who may ----
CREATE ROLE glm_batch_user;
GRANT SELECT ON doc TO glm_batch_user;
REVOKE EXECUTE ON FUNCTION glm_count_tokens FROM PUBLIC;
SET ROLE glm_batch_user;
SELECT glm_count_tokens(body) FROM doc;
SELECT id FROM doc WHERE glm_count_tokens(body) > 0;
RESET ROLE;
GRANT EXECUTE ON FUNCTION glm_count_tokens TO PUBLIC;
-- a policy that asks the model comes before what the user asks
CREATE POLICY short ON doc FOR SELECT TO glm_batch_user USING (id <> 10 AND glm_count_tokens(body) < 12 AND id < 20);
ALTER TABLE doc ENABLE ROW LEVEL SECURITY;
CREATE FUNCTION nosy(id int) RETURNS boolean LANGUAGE plpgsql COST 0.0001 AS $$ BEGIN RAISE NOTICE 'saw %', id; RETURN true; END $$;
SET ROLE glm_batch_user;
EXPLAIN (COSTS OFF) SELECT id FROM doc WHERE nosy(id) AND glm_count_tokens(body) > 0;
SELECT id FROM doc WHERE nosy(id) AND glm_count_tokens(body) > 10;
RESET ROLE;
ALTER TABLE doc DISABLE ROW LEVEL SECURITY;

-- ---- parallel queries, partitions, inheritance ----
CREATE TABLE part (id int, body text) PARTITION BY RANGE (id);
CREATE TABLE part1 PARTITION OF part FOR VALUES FROM (0) TO (25);
CREATE TABLE part2 PARTITION OF part FOR VALUES FROM (25) TO (100);
INSERT INTO part SELECT id, 'Text ' || id FROM doc;
ANALYZE part;
EXPLAIN (COSTS OFF) SELECT id, glm_count_tokens(body) FROM part LIMIT 30;
SELECT requests_of('SELECT id, glm_count_tokens(body) FROM part LIMIT 30'), same_rows('SELECT id, glm_count_tokens(body) FROM part');
UPDATE part SET id = (id + glm_count_tokens(body)) % 100;
SET max_parallel_workers_per_gather = 2;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
EXPLAIN (COSTS OFF) SELECT glm_count_tokens(body) FROM doc WHERE id % 2 = 0;
SELECT sum(glm_count_tokens(body)) = (SELECT sum(cardinality(glm_tokenize(body))) FROM doc) AS parallel FROM doc;
RESET max_parallel_workers_per_gather;
RESET parallel_setup_cost;
RESET parallel_tuple_cost;
RESET min_parallel_table_scan_size;

-- ---- an explicit batch ----
SELECT * FROM glm_generate_batch('{}');
SELECT * FROM glm_generate_batch(NULL);
SELECT idx, response IS NULL AS "null", prompt_tokens > 0 AS counted, completion_tokens, finish_reason, error LIKE '%does not fit%' AS error
  FROM glm_generate_batch(ARRAY['hello', repeat('far too long ', 2000), NULL, ''], max_tokens => 2);
SELECT count(*), bool_and(idx = i AND response = glm_generate(body, max_tokens => 4)) AS same
  FROM (SELECT array_agg(body ORDER BY id) AS bodies FROM doc WHERE body IS NOT NULL) d, glm_generate_batch(bodies, max_tokens => 4) b,
       LATERAL (SELECT row_number() OVER (ORDER BY id) AS i, body FROM doc WHERE body IS NOT NULL) o WHERE o.i = b.idx;
SELECT * FROM glm_generate_batch(ARRAY['hello'], temperature => -1);
SELECT * FROM glm_generate_batch(ARRAY['hello'], model => 'nonesuch');

-- ---- an empty prompt is an empty turn, in flight as elsewhere ----
SELECT id, glm_generate(t) = glm_chat('[{"role": "user", "content": ""}]')->>'content' AS generate,
       (glm_try_generate(t)).response = glm_generate('') AS try, glm_complete(t, max_tokens => 3) = glm_complete('', max_tokens => 3) AS complete
  FROM (VALUES (1, ''), (2, NULL), (3, '')) v(id, t);
SELECT glm_generate('') = (SELECT string_agg(token, '' ORDER BY seq) FROM glm_stream('')) AS stream,
       glm_generate('') = (SELECT response FROM glm_generate_batch('{""}')) AS batch;

-- ---- answers that max_tokens cut ----
SELECT id, glm_generate('Who are you?', max_tokens => n, options => '{"on_length": "null"}') IS NULL AS "null",
       glm_chat('[{"role": "user", "content": "Who are you?"}]', max_tokens => n, options => '{"on_length": "null"}') - 'usage' AS chat
  FROM (VALUES (1, 3), (2, 100)) v(id, n);
SELECT glm_generate(body, max_tokens => 2) IS NULL AS keep, glm_generate(body, max_tokens => 2, options => '{"on_length": "null"}') IS NULL AS "null",
       (glm_try_generate(body, max_tokens => 2, options => '{"on_length": "error"}')).sqlstate, (glm_try_generate(body, max_tokens => 2)).sqlstate AS keep
  FROM doc WHERE id = 1;
SELECT (r).response, (r).completion_tokens, (r).finish_reason, (r).error, (r).sqlstate
  FROM (SELECT glm_try_generate('Who are you?', max_tokens => 3, options => jsonb_build_object('on_length', o)) AS r
          FROM unnest('{keep,null,error,NULL}'::text[]) o OFFSET 0) t;
SELECT idx, response, finish_reason, error FROM glm_generate_batch('{Who are you?}', max_tokens => 3, options => '{"on_length": "error"}');
-- (the context has the number of a request)
\set SHOW_CONTEXT never
SELECT glm_generate(body, max_tokens => 2, options => '{"on_length": "error"}') FROM doc WHERE id = 1;
\set SHOW_CONTEXT errors
SELECT glm_complete('a', max_tokens => 2, temperature => 100, seed => 1, options => '{"on_length": "error"}');

-- ---- errors as rows ----
SELECT (r).response IS NULL AS "null", (r).error, (r).sqlstate
  FROM (SELECT glm_try_generate(body, model => model, max_tokens => 1) AS r
          FROM (VALUES (1, 'hello', NULL), (2, 'hello', 'nonesuch'), (3, NULL, NULL), (4, '', NULL)) v(i, body, model) ORDER BY i OFFSET 0) t;
SELECT (glm_try_generate('hello', model => 'nonesuch')).sqlstate;

DROP TABLE part, copy_of, doc;
DROP FUNCTION plan_of, requests_of, same_rows, careful, inlined, nosy;
DROP ROLE glm_batch_user;
