--
-- Forms of statements that run in flight beside the plain ones of batch.sql, and what
-- is asked once: the fields of a composite, equal calls of a row.
-- Answers at temperature 3 without a seed differ from call to call, so they tell calls apart.
--
\pset format unaligned
CREATE TABLE note (id int PRIMARY KEY, kind int, body text, a text, b text);
INSERT INTO note SELECT i, i % 3, CASE WHEN i % 10 = 0 THEN NULL ELSE 'Note ' || i || repeat(' and so on', i % 7) END
  FROM generate_series(1, 25) i;
ANALYZE note;

CREATE FUNCTION analyzed(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY EXECUTE 'EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) ' || query;
END $$;
-- a plan, where versions of the server say the same
CREATE FUNCTION plan_of(query text, options text DEFAULT 'COSTS OFF') RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
    line text;
BEGIN
    FOR line IN EXECUTE format('EXPLAIN (%s) %s', options, query) LOOP
        IF line LIKE 'Settings: %' THEN
            line := 'Settings: ' || (SELECT string_agg(s, ', ' ORDER BY s COLLATE "C") FROM regexp_split_to_table(substr(line, 11), ', ') s);
        END IF;
        RETURN NEXT regexp_replace(line, ' \(returns .*\)', '');
    END LOOP;
END $$;
-- how many requests its nodes made; NULL: there are no nodes
CREATE FUNCTION requests_of(query text) RETURNS bigint LANGUAGE sql AS $$
    SELECT sum(substring(line FROM '^ *Requests: (\d+)')::int) FROM analyzed(query) line $$;
-- whether it gives the same rows in the same order, one by one and in flight
CREATE FUNCTION same_rows(query text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    rows text[];
    prefetch text;
BEGIN
    FOREACH prefetch IN ARRAY ARRAY['1', '32', '3'] LOOP
        PERFORM set_config('chatglm.prefetch', prefetch, true);
        EXECUTE format('SELECT %L::text[] || array_agg(format(''%%s'', q))::text FROM (%s) q', rows, query) INTO rows;
    END LOOP;
    RETURN rows[1] = rows[2] AND rows[1] = rows[3];
END $$;
-- glm_try_generate as differently as can be
CREATE FUNCTION wild(text) RETURNS glm_result LANGUAGE sql AS
    'SELECT glm_try_generate($1, temperature => 3, top_p => 1, max_tokens => 8)';

-- ---- the fields of a composite are one call ----
SELECT query, requests_of(query) FROM (VALUES
    ('SELECT id, (wild(body)).* FROM note WHERE body IS NOT NULL'),
    ('SELECT (wild(body)).response, (wild(body)).error FROM note WHERE body IS NOT NULL'),
    ('SELECT (wild(body)).response FROM note WHERE (wild(body)).error IS NULL AND body IS NOT NULL'),
    ('SELECT (wild(body)).response FROM note WHERE body IS NOT NULL AND (wild(body)).error IS NULL ORDER BY id'),
    ('SELECT (wild(body)).response FROM note WHERE body IS NOT NULL AND (wild(body)).error IS NULL ORDER BY id LIMIT 3'),
    ('SELECT (wild(body)).response FROM note WHERE body IS NOT NULL ORDER BY (wild(body)).completion_tokens'),
    ('SELECT CASE WHEN (wild(body)).error IS NULL THEN (wild(body)).response ELSE (wild(body)).error END FROM note WHERE body IS NOT NULL'),
    ('SELECT coalesce((wild(body)).error, (wild(body)).response) FROM note WHERE body IS NOT NULL'),
    ('SELECT count((wild(body)).error), count((wild(body)).response) FROM note WHERE body IS NOT NULL'),
    ('SELECT kind, sum((wild(body)).completion_tokens) FROM note WHERE body IS NOT NULL AND (wild(body)).error IS NULL GROUP BY kind'),
    ('SELECT (wild(body)).finish_reason, avg((wild(body)).completion_tokens) FROM note WHERE body IS NOT NULL GROUP BY 1'),
    ('SELECT row_number() OVER (ORDER BY id), (wild(body)).* FROM note WHERE body IS NOT NULL'),
    ('UPDATE note SET a = (wild(body)).response, b = (wild(body)).finish_reason WHERE body IS NOT NULL'),
    ('INSERT INTO note (id, a, b) SELECT id + 100, (wild(body)).response, (wild(body)).error FROM note WHERE id < 4'),
    ('SELECT (wild(glm_detokenize(glm_tokenize(body)))).* FROM note WHERE id < 4'),
    ('SELECT (glm_try_generate((SELECT max(body) FROM note) || body, temperature => 3)).* FROM note WHERE id < 4'),
    ('SELECT (glm_try_generate((SELECT max(o.body) FROM note o WHERE o.id <= note.id), temperature => 3, max_tokens => 9)).* FROM note WHERE id < 4'),
    ('SELECT (glm_try_generate(glm_generate(body, temperature => 3, max_tokens => 9), temperature => 3, max_tokens => 9)).* FROM note WHERE id < 4'),
    ('SELECT (glm_try_generate(body, temperature => 3, max_tokens => 9)).response FROM note WHERE (glm_try_generate(body, temperature => 3, max_tokens => 9)).error IS NULL AND id < 4 ORDER BY id'),
    ('SELECT (wild(''hello'')).*'),
    ('SELECT (wild(body)).response, (wild(body || 1)).error FROM note WHERE id < 4')
) q(query);
SELECT count(*), count(*) FILTER (WHERE x IS DISTINCT FROM y) AS mixed, count(DISTINCT x) > 5 AS wild
  FROM (SELECT (wild(body)).response AS x, (wild(body)).response AS y FROM note WHERE (wild(body)).response IS NOT NULL ORDER BY id) s;
UPDATE note SET a = (wild(body)).response, b = (wild(body)).response;
SELECT count(a) = count(body) AS answered, count(*) FILTER (WHERE a IS DISTINCT FROM b) AS mixed FROM note;

-- ---- equal calls of a row are one request when they cannot differ ----
SELECT query, requests_of(query) FROM (VALUES
    ('SELECT glm_generate(body, max_tokens => 3), glm_generate(body, max_tokens => 3) FROM note WHERE body IS NOT NULL'),
    ('SELECT glm_generate(body, max_tokens => 3), glm_generate(body, max_tokens => 4) FROM note WHERE body IS NOT NULL'),
    ('SELECT id, glm_generate(body, max_tokens => 3) FROM note WHERE glm_generate(body, max_tokens => 3) <> '''' AND body IS NOT NULL'),
    ('SELECT id, glm_generate(body, max_tokens => 3) FROM note WHERE glm_generate(body, max_tokens => 3) <> '''' AND body IS NOT NULL ORDER BY id DESC'),
    ('SELECT kind, count(glm_generate(body, max_tokens => 3)) FROM note WHERE glm_generate(body, max_tokens => 3) <> '''' AND body IS NOT NULL GROUP BY kind'),
    ('SELECT glm_generate(body, max_tokens => 3, temperature => 3) = glm_generate(body, max_tokens => 3, temperature => 3) FROM note WHERE body IS NOT NULL'),
    ('SELECT glm_generate(body, max_tokens => 3, temperature => 3, seed => id) = glm_generate(body, max_tokens => 3, temperature => 3, seed => id) FROM note WHERE body IS NOT NULL'),
    ('SELECT glm_generate(body, max_tokens => 3, temperature => id % 2), glm_generate(body, max_tokens => 3, temperature => id % 2) FROM note WHERE body IS NOT NULL'),
    ('SELECT glm_detokenize(glm_tokenize(body)) FROM note WHERE glm_detokenize(glm_tokenize(body)) = body'),
    ('SELECT glm_try_generate(body, max_tokens => 3), (glm_try_generate(body, max_tokens => 3)).error FROM note WHERE body IS NOT NULL'),
    ('SELECT glm_generate(''a'', max_tokens => 3), glm_generate(''a'', max_tokens => 3), 1')
) q(query);
SET chatglm.temperature = 3;
SELECT requests_of('SELECT glm_generate(body, max_tokens => 3), glm_generate(body, max_tokens => 3) FROM note WHERE body IS NOT NULL');
RESET chatglm.temperature;

-- ---- functions in FROM ----
EXPLAIN (VERBOSE, COSTS OFF) SELECT t.id, r.n, upper(r.n::text) FROM note t, glm_count_tokens(t.body) r(n) WHERE r.n > 5;
EXPLAIN (COSTS OFF) SELECT t.id, r.* FROM note t LEFT JOIN LATERAL glm_try_generate(t.body) r ON true WHERE r.error IS NULL;
EXPLAIN (COSTS OFF) SELECT g, h FROM note t JOIN note o ON t.id = o.id + 1, glm_generate(t.body || o.body) g, glm_generate(g) h LIMIT 3;
EXPLAIN (COSTS OFF) SELECT s.* FROM note t, LATERAL (SELECT (glm_try_generate(t.id::text)).*) s;
EXPLAIN (VERBOSE, COSTS OFF) SELECT t.id, n FROM note t LEFT JOIN LATERAL glm_count_tokens(t.body) n ON n > 9 WHERE t.kind = 1;
-- so do those with one value where the rows of all tables are carried along, to be locked or looked up again
EXPLAIN (COSTS OFF) UPDATE note SET a = g FROM note o, glm_generate(o.body) g WHERE o.id = note.id;
EXPLAIN (COSTS OFF) SELECT id, n FROM note, glm_count_tokens(body) n FOR UPDATE OF note;
-- it runs once for all rows
EXPLAIN (COSTS OFF) SELECT t.id, g FROM note t, glm_generate('x') g;
SELECT query, requests_of(query) FROM (VALUES
    ('SELECT t.id, r.* FROM note t, wild(t.body) r WHERE body IS NOT NULL'),
    ('SELECT t.id FROM note t, glm_try_generate(t.body, max_tokens => 3) r WHERE body IS NOT NULL'),
    ('SELECT t.id, r.* FROM note t LEFT JOIN LATERAL glm_try_generate(t.body, max_tokens => 3) r ON true WHERE r.error IS NULL AND body IS NOT NULL'),
    ('SELECT t.id, r.* FROM note t, glm_try_generate(t.body, max_tokens => 3) WITH ORDINALITY r WHERE body IS NOT NULL LIMIT 5'),
    ('SELECT g, h FROM note t, glm_detokenize(glm_tokenize(t.body)) g, glm_count_tokens(g) h WHERE body IS NOT NULL LIMIT 3')
) q(query);
UPDATE note SET a = g FROM note o, glm_detokenize(glm_tokenize(o.body)) g, glm_count_tokens(g) n WHERE o.id = note.id AND n > 9;
SELECT count(*) FILTER (WHERE a = body AND glm_count_tokens(body) > 9) AS set, count(*) FILTER (WHERE glm_count_tokens(body) > 9) AS wanted FROM note;
SELECT count(n), sum(n) = (SELECT sum(glm_count_tokens(body)) FROM note) AS same FROM (SELECT n FROM note LEFT JOIN LATERAL glm_count_tokens(body) n ON true FOR UPDATE OF note) s;
UPDATE note SET a = NULL;
SELECT count(*) FILTER (WHERE g <> h) AS mixed, count(DISTINCT g) > 5 AS wild
  FROM (SELECT g, g || '' AS h FROM note t, glm_generate(t.body, temperature => 3, top_p => 1, max_tokens => 8) g OFFSET 0) s;
SELECT query, same_rows(query) FROM (VALUES
    ('SELECT t.id, r.* FROM note t, glm_try_generate(t.body, max_tokens => 3) r'),
    ('SELECT t.id, r FROM note t, glm_try_generate(t.body, max_tokens => 3) r ORDER BY r.response DESC, id'),
    ('SELECT t.id, r.error, r.sqlstate FROM note t LEFT JOIN LATERAL glm_try_generate(nullif(t.body, ''''), model => CASE WHEN id % 7 = 0 THEN ''nonesuch'' END, max_tokens => 2) r ON true'),
    ('SELECT t.id, n, o FROM note t, glm_count_tokens(t.body) WITH ORDINALITY r(n, o) WHERE n % 2 = 0'),
    ('SELECT t.id, u.id, n FROM note t JOIN note u ON u.id = t.id + 1 JOIN LATERAL glm_count_tokens(t.body || u.body) n ON n > 20'),
    ('SELECT t.id, n, m FROM note t, glm_count_tokens(t.body) n, glm_count_tokens(repeat(''a '', n)) m'),
    ('SELECT t.id, s.* FROM note t, LATERAL (SELECT glm_count_tokens(t.body) AS n, glm_tokenize(t.body) AS ids) s WHERE n > 9'),
    ('SELECT t.id, n FROM note t, LATERAL (SELECT n FROM glm_count_tokens(t.body) n WHERE n > 9) s'),
    ('SELECT t.id, (SELECT max(n) FROM note o, glm_count_tokens(o.body || t.body) n WHERE o.id < 4) FROM note t WHERE id < 6'),
    ('SELECT t.id, n FROM note t LEFT JOIN LATERAL glm_count_tokens(t.body) n ON n > 9'),
    ('SELECT t.id, r, r.response FROM note t LEFT JOIN LATERAL glm_try_generate(t.body, max_tokens => 2) r ON t.kind = 1 AND r.error IS NULL'),
    ('SELECT t.id, n FROM note t LEFT JOIN LATERAL glm_count_tokens(t.body) n ON glm_count_tokens(t.id::text) = 4'),
    ('SELECT t.id, r.n FROM note t LEFT JOIN (note o CROSS JOIN LATERAL glm_count_tokens(o.body) r(n)) ON o.id = t.id + 1 AND r.n > 9 WHERE r.n IS DISTINCT FROM 12'),
    ('SELECT t.id, n FROM note t, glm_count_tokens(t.kind::text) n'),
    ('SELECT count(*) FROM note t WHERE EXISTS (SELECT FROM glm_count_tokens(t.body) n WHERE n > 9)'),
    ('SELECT n, count(*) FROM note t, glm_count_tokens(t.body) n GROUP BY n ORDER BY n'),
    ('SELECT row_number() OVER (ORDER BY id), glm_count_tokens(body), sum(glm_count_tokens(body)) OVER (ORDER BY id) FROM note'),
    ('SELECT coalesce(glm_count_tokens(body), id), glm_count_tokens(body) > 5 OR id = 1, CASE glm_count_tokens(body) WHEN 9 THEN id ELSE 0 END FROM note')
) q(query);

-- ---- SET (a, b) = (SELECT ...) ----
EXPLAIN (COSTS OFF) UPDATE note SET (a, b) = (SELECT r.response, r.error FROM glm_try_generate(body) r);
SELECT plan_of($q$UPDATE note SET (a, b) = (SELECT r.response, r.error FROM glm_try_generate(body) r WHERE r.error IS NULL)$q$);
SELECT query, requests_of(query) FROM (VALUES
    ('UPDATE note SET (a, b) = (SELECT g, upper(g) FROM glm_generate(body, temperature => 3, top_p => 1, max_tokens => 8) g) WHERE body IS NOT NULL'),
    ('UPDATE note SET (a, b) = (SELECT response, response FROM wild(body)) WHERE id < 10'),
    ('UPDATE note SET (a, b) = (SELECT r.response, r.response FROM wild(note.body || o.id) r LIMIT 1) FROM note o WHERE o.id = note.id + 1 AND note.id < 6'),
    ('UPDATE note SET (a, b) = (SELECT (wild(body)).response, (wild(body)).response) WHERE id BETWEEN 21 AND 24')
) q(query);
SELECT count(*) FILTER (WHERE b = a OR b = upper(a)) = count(*) AS whole, count(*) FROM note WHERE body IS NOT NULL;
UPDATE note SET (a, kind) = (SELECT glm_detokenize(glm_tokenize(body)), n + kind FROM glm_count_tokens(body) n), b = 'and ' || glm_count_tokens(body);
SELECT count(*) AS different FROM note WHERE a IS DISTINCT FROM body OR b <> 'and ' || (kind - id % 3);

-- ---- FILTER ----
EXPLAIN (VERBOSE, COSTS OFF) SELECT sum(glm_count_tokens(body)) FILTER (WHERE id < 9 AND glm_count_tokens(a) > 3) FROM note;
SELECT query, requests_of(query) FROM (VALUES
    ('SELECT count(*) FILTER (WHERE glm_generate(body, max_tokens => 2) <> ''x'') FROM note WHERE body IS NOT NULL'),
    ('SELECT count(glm_generate(body, max_tokens => 2)) FILTER (WHERE id < 10) FROM note'),
    ('SELECT sum(glm_count_tokens(body || a)) FILTER (WHERE glm_count_tokens(body) > 10) FROM note')
) q(query);
SELECT count(*) FROM note WHERE glm_count_tokens(body) > 10;
SELECT query, same_rows(query) FROM (VALUES
    ('SELECT count(*) FILTER (WHERE glm_count_tokens(body) > 9), sum(glm_count_tokens(body)) FILTER (WHERE id % 2 = 0), sum(glm_count_tokens(body)) FROM note'),
    ('SELECT kind, string_agg(glm_detokenize(glm_tokenize(body)), '','' ORDER BY id) FILTER (WHERE glm_count_tokens(body) < 12 AND id <> 3) FROM note GROUP BY kind ORDER BY 1'),
    ('SELECT count(1 / glm_count_tokens(body)) FILTER (WHERE body <> '''') FROM note'),
    ('SELECT count((glm_try_generate(body, max_tokens => 2)).response) FILTER (WHERE id < 9), count((glm_try_generate(body, max_tokens => 2)).error) FILTER (WHERE id > 9) FROM note')
) q(query);

-- ---- VALUES, SELECT without FROM ----
CREATE TABLE stored (id serial, text text DEFAULT 'none', n int);
EXPLAIN (VERBOSE, COSTS OFF) VALUES (upper(glm_detokenize('{300}')), 1), (upper(glm_detokenize('{301}')), 2);
EXPLAIN (COSTS OFF) INSERT INTO stored (text, n) VALUES (glm_generate('a'), 1), ('b', glm_count_tokens('b')), (DEFAULT, NULL);
EXPLAIN (COSTS OFF) VALUES (glm_detokenize('{300}')), (upper(glm_detokenize('{301}')));
EXPLAIN (COSTS OFF) SELECT glm_generate('a'), glm_generate('b');
EXPLAIN (COSTS OFF) SELECT glm_generate('a') || glm_generate('b');
INSERT INTO stored (text, n) VALUES (glm_detokenize(glm_tokenize('first')), 1), ('second', glm_count_tokens('a b c')), (DEFAULT, NULL),
    (glm_detokenize(glm_tokenize('fourth')), glm_count_tokens(NULL)), (NULL, glm_count_tokens('d')) RETURNING id, text, n IS NULL AS "null";
INSERT INTO stored (text, n) VALUES (glm_detokenize(glm_tokenize('first')), 1), (repeat('x', glm_count_tokens('')), 2) RETURNING id, text;
SELECT query, requests_of(query), same_rows(query) FROM (VALUES
    ('VALUES (glm_generate(''a'', max_tokens => 2)), (glm_generate(''b'', max_tokens => 3)), (NULL), (glm_generate(NULL))'),
    ('SELECT n, t, t FROM (VALUES (glm_generate(''a'', max_tokens => 2), 1), (''x'', 2), (glm_generate(''b'', max_tokens => 3), 3)) v(t, n) WHERE n > 1'),
    ('SELECT t FROM (VALUES (1, glm_count_tokens(''a'')), (2, glm_count_tokens(''b c''))) v(n, t), generate_series(1, 2)'),
    ('SELECT glm_generate(''a'', max_tokens => 3), glm_generate(''b'', max_tokens => 3)'),
    ('SELECT glm_count_tokens(''a'') + glm_count_tokens(''b c''), 1'),
    ('SELECT glm_count_tokens(''a''), glm_count_tokens(''b c'') WHERE false')
) q(query);
PREPARE stored(text, int) AS VALUES (glm_count_tokens($1), $2), (glm_count_tokens($1 || ' more'), glm_count_tokens('x')), (3, $2);
EXECUTE stored('a b c', 7);
-- a simple expression of PL/pgSQL stays one
DO $$
DECLARE n int := glm_count_tokens('a') + glm_count_tokens('b');
BEGIN
    IF glm_count_tokens('a') + glm_count_tokens('b') = n THEN RAISE NOTICE 'equal'; END IF;
END $$;

-- ---- MERGE ----
CREATE TABLE target (id int PRIMARY KEY, q text, n int);
INSERT INTO target SELECT i, 'old', 1 FROM generate_series(1, 12) i;
EXPLAIN (VERBOSE, COSTS OFF) MERGE INTO target t USING note s ON s.id = t.id
    WHEN MATCHED AND s.id < 5 THEN DO NOTHING WHEN MATCHED THEN UPDATE SET q = glm_detokenize(glm_tokenize(s.body)) || t.q, n = t.n + 1;
EXPLAIN (COSTS OFF) MERGE INTO target t USING note s ON s.id = t.id WHEN MATCHED AND t.n > 1 THEN UPDATE SET q = glm_generate(s.body);
EXPLAIN (COSTS OFF) MERGE INTO target t USING note s ON s.id = t.id WHEN MATCHED THEN UPDATE SET q = glm_generate(s.body || t.q);
SELECT requests_of($$MERGE INTO target t USING note s ON s.id = t.id
    WHEN MATCHED AND s.id < 5 THEN DO NOTHING
    WHEN MATCHED AND s.id < 9 THEN DELETE
    WHEN MATCHED THEN UPDATE SET q = glm_detokenize(glm_tokenize(s.body)), n = t.n + glm_count_tokens(s.body)
    WHEN NOT MATCHED AND s.id < 22 THEN INSERT VALUES (s.id, glm_detokenize(glm_tokenize(s.body)), glm_count_tokens(s.body))$$);
SELECT count(*), count(*) FILTER (WHERE q = 'old'), count(*) FILTER (WHERE q = body AND n = glm_count_tokens(body) + (t.id < 13)::int), count(*) FILTER (WHERE q IS NULL)
  FROM target t JOIN note USING (id);

-- ---- errors as values in parallel queries ----
SELECT set_config(name, 'on', false) FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query');
SELECT (glm_try_generate('hello', model => 'nonesuch')).error;
SELECT (r).error, (r).sqlstate FROM (SELECT glm_try_generate('hello', temperature => x) AS r FROM (VALUES (0), (-1)) v(x) OFFSET 0) s;
SELECT count(error), max(error) FROM glm_generate_batch(ARRAY['a', repeat('long text ', 6711000), 'b'], max_tokens => 1);
SELECT count(*), count((r).error) FROM (SELECT glm_try_generate(body, max_tokens => 1, model => CASE WHEN id % 4 = 0 THEN 'nonesuch' END) AS r FROM note WHERE body IS NOT NULL OFFSET 0) s;
SELECT glm_generate('hello', model => 'nonesuch');
SELECT set_config(name, 'off', false) FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query');

-- ---- however many calls and columns ----
SELECT string_agg(format('glm_generate(body || %s, max_tokens => 30, temperature => 1.5, seed => %s, stop => ARRAY[''zzz''])', i, i), ' || ') AS calls
  FROM generate_series(1, 48) i \gset
SELECT count(length(:calls)) FROM note WHERE id < 9;
SELECT 'CREATE TABLE wide (' || string_agg(format('c%s int DEFAULT %s', i, i), ', ') || ', body text)' AS wide FROM generate_series(1, 700) i \gset
:wide;
INSERT INTO wide (body) SELECT 'text ' || i FROM generate_series(1, 3) i;
SELECT string_agg(format('glm_count_tokens(body || %s)', i), ' + ') AS calls FROM generate_series(1, 1000) i \gset
SELECT md5(wide::text || (:calls)) IS NOT NULL AS counted, c1 + c700 AS sum FROM (SELECT *, :calls AS n FROM wide) wide;
SELECT string_agg(format('c%s', i), ', ') AS columns FROM generate_series(1, 700) i \gset
CREATE TABLE counted AS SELECT :columns, :calls AS n FROM wide;
SELECT count(*), count(DISTINCT n) FROM counted;

-- ---- errors name their row ----
SELECT glm_generate(CASE WHEN id = 7 THEN 'x' ELSE body END, model => CASE WHEN id = 7 THEN 'nonesuch' END, max_tokens => 1) FROM note ORDER BY id;
SELECT 1 / (7 - id) * glm_count_tokens(body) FROM note WHERE id > 3 ORDER BY id;
SELECT glm_detokenize(glm_tokenize(body))::int FROM (SELECT * FROM note ORDER BY id OFFSET 3) s;
SELECT id FROM (SELECT * FROM note ORDER BY id OFFSET 3) s WHERE 1 / (id - 7) * glm_count_tokens(body) > 100;

-- ---- EXPLAIN ----
SELECT line FROM analyzed('SELECT glm_try_generate(''x'', max_tokens => 1, model => CASE WHEN id < 4 THEN ''nonesuch'' END) FROM note WHERE id < 9') line WHERE line ~ 'Model|Failed|Requests';
SELECT line FROM analyzed('SELECT glm_count_tokens(body, model => ''tiny-chatglm3''), glm_tokenize(body) FROM note') line WHERE line ~ 'Model|Failed|Requests';
SET chatglm.max_tokens = 7;
SET chatglm.temperature = 0.5;
SET chatglm.request_timeout = '1h';
SET chatglm.prefetch = 16;
SET chatglm.model = 'nonesuch';
SELECT plan_of($q$SELECT glm_count_tokens(body), glm_count_tokens(body, model => NULL) FROM note$q$, 'SETTINGS, COSTS OFF');
SELECT plan_of($q$SELECT glm_count_tokens(body), glm_count_tokens(body, model => 'other') FROM note$q$, 'SETTINGS, COSTS OFF');
RESET ALL;

DROP TABLE note, stored, target, wide, counted;
DROP FUNCTION analyzed, plan_of, requests_of, same_rows, wild;
