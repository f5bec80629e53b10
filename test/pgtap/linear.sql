-- linear.sql - linear models: made, fitted, used.
\set ON_ERROR_STOP on
\set QUIET on
BEGIN;
SELECT plan(113);
CREATE ROLE glm_tap_user;
CREATE ROLE glm_tap_other;

-- ---- glm_linear_create, glm_predict
SELECT lives_ok($$SELECT glm_linear_create('z', '{"X": 2.5, "Y": 1.3}', 0.7)$$, 'a model');
SELECT is(glm_predict('z', '{"X": 1.2, "Y": 3.4}'), 8.12::float8, 'predicts 2.5 X + 1.3 Y + 0.7');
SELECT is(glm_predict('z', '{"Y": 3.4, "X": 1.2, "more": "text", "z": null}'), 8.12::float8, 'whatever else there is');
SELECT is(glm_predict('z', '{"X": 0, "Y": 0}'), 0.7::float8, 'the bias');
SELECT is(glm_predict('z', NULL::jsonb), NULL, 'NULL in, NULL out');
SELECT is(glm_predict(NULL, '{"X": 1}'::jsonb), NULL, 'no name');
SELECT throws_ok($$SELECT glm_predict('z', '{"X": 1.2}')$$, '22023', 'feature "Y" is missing', 'a feature that is missing');
SELECT throws_ok($$SELECT glm_predict('z', '{"X": 1.2, "Y": "3.4"}')$$, '22023', 'feature "Y" must be a number', 'a text');
SELECT throws_ok($$SELECT glm_predict('z', '{"X": true, "Y": 1}')$$, '22023', 'feature "X" must be a number', 'a boolean');
SELECT throws_ok($$SELECT glm_predict('z', '{"X": null, "Y": 1}')$$, '22023', 'feature "X" must be a number', 'null');
SELECT throws_ok($$SELECT glm_predict('z', '{"X": [1], "Y": 1}')$$, '22023', 'feature "X" must be a number', 'an array');
SELECT throws_ok($$SELECT glm_predict('z', '{"X": 1e400, "Y": 1}')$$, '22023', 'feature "X" must be a finite number', 'too large');
SELECT throws_ok($$SELECT glm_predict('z', '[1.2, 3.4]')$$, '22023', 'argument "features" must be an object, not [1.2, 3.4]', 'no object');
SELECT throws_ok($$SELECT glm_predict('z', '1')$$, '22023', NULL, 'a scalar');
SELECT throws_ok($$SELECT glm_predict('z', '{X')$$, '22P02', NULL, 'no JSON');
SELECT is(glm_predict('z', '{"X": 1.2, "Y": 3.4}'::jsonb), 8.12::float8, 'as jsonb');
SELECT is(glm_predict('z', json_build_object('X', 1.2, 'Y', 3.4)::text), 8.12::float8, 'as text');
SELECT throws_ok($$SELECT glm_predict('z', ARRAY[1, 2]::real[])$$, '22023', 'the model knows its features by name', 'an array of a named model');
SELECT throws_ok($$SELECT glm_predict('nobody', '{"X": 1}'::jsonb)$$, '42704', 'linear model "nobody" does not exist', 'no such model');
SELECT throws_ok(format('SELECT glm_predict(%L, ''{"X": 1}''::jsonb)', repeat('n', 200)), '42704', NULL, 'nor one with a long name');

SELECT lives_ok($$SELECT glm_linear_create('by place', '[1, -2, 0.5]')$$, 'weights by place');
SELECT is(glm_predict('by place', ARRAY[4, 1, 2]::real[]), 3::float8, 'predicts of an array; the bias is 0');
SELECT is(glm_predict('by place', NULL::real[]), NULL, 'NULL array');
SELECT throws_ok($$SELECT glm_predict('by place', ARRAY[4, 1]::real[])$$, '22023', 'the model has 3 features, not 2', 'of another length');
SELECT throws_ok($$SELECT glm_predict('by place', ARRAY[4, NULL, 1]::real[])$$, '22004', NULL, 'with a NULL');
SELECT throws_ok($$SELECT glm_predict('by place', ARRAY[4, 'NaN', 1]::real[])$$, '22023', 'feature 2 must be a finite number', 'with NaN');
SELECT throws_ok($$SELECT glm_predict('by place', '{"1": 2}'::jsonb)$$, '22023', 'the model knows its features by place', 'an object');

SELECT lives_ok($$SELECT glm_linear_create('p', '{"x": 1}', link => 'logistic')$$, 'a logistic model');
SELECT is(glm_predict('p', '{"x": 0}'), 0.5::float8, 'predicts a probability');
SELECT is(round(glm_predict('p', '{"x": 2}')::numeric, 12), round((1 / (1 + exp(-2.0)))::numeric, 12), '1 / (1 + exp(-z))');
SELECT is(ARRAY[glm_predict('p', '{"x": 1e6}'), glm_predict('p', '{"x": -1e6}')], ARRAY[1, 0]::float8[], 'at its ends');
SELECT lives_ok($$SELECT glm_linear_create('large', '{"x": 1e300}')$$, 'large weights');
SELECT throws_ok($$SELECT glm_predict('large', '{"x": 1e300}')$$, '22003', NULL, 'overflow');

SELECT lives_ok($$SELECT glm_linear_create('z', '{"X": 1}', 2)$$, 'a model replaced');
SELECT is(glm_predict('z', '{"X": 1}'), 3::float8, 'is another at once');
SAVEPOINT s;
SELECT lives_ok($$SELECT glm_linear_create('z', '{"X": 10}', 2)$$, 'and again');
SELECT is(glm_predict('z', '{"X": 1}'), 12::float8, 'in a savepoint');
ROLLBACK TO s;
SELECT is(glm_predict('z', '{"X": 1}'), 3::float8, 'that is rolled back');
UPDATE chatglm.linear_model SET bias = 5 WHERE name = 'z';
SELECT is(glm_predict('z', '{"X": 1}'), 6::float8, 'changed by plain SQL');

SELECT throws_ok($$SELECT glm_linear_create('', '{"X": 1}')$$, '42602', NULL, 'no name');
SELECT throws_ok($$SELECT glm_linear_create(NULL, '{"X": 1}')$$, '22004', NULL, 'NULL name');
SELECT throws_ok($$SELECT glm_linear_create('a', '{"X": "1"}')$$, '22023', 'weight "X" must be a finite number', 'a weight that is a text');
SELECT throws_ok($$SELECT glm_linear_create('a', '[1, null]')$$, '22023', 'weight 2 must be a finite number', 'that is null');
SELECT throws_ok($$SELECT glm_linear_create('a', '{}')$$, '22023', NULL, 'no weights');
SELECT throws_ok($$SELECT glm_linear_create('a', '3')$$, '22023', NULL, 'a scalar');
SELECT throws_ok($$SELECT glm_linear_create('a', '{"X": 1}', 'NaN')$$, '22023', NULL, 'a bias that is none');
SELECT throws_ok($$SELECT glm_linear_create('a', '{"X": 1}', link => 'probit')$$, '22023',
                 'argument "link" must be "identity" or "logistic", not "probit"', 'another link');
SELECT throws_ok($$INSERT INTO chatglm.linear_model VALUES ('a', current_user, 'identity', 0, '{"x": "y"}')$$, '22023', NULL,
                 'plain SQL is looked at too');
SELECT throws_ok($$UPDATE chatglm.linear_model SET link = 'probit'$$, '22023', NULL, 'and updates');

-- ---- whose it is
GRANT EXECUTE ON FUNCTION glm_linear_create, glm_linear_fit, glm_linear_drop TO glm_tap_other;
SET LOCAL ROLE glm_tap_user;
SELECT throws_ok($$SELECT glm_linear_create('u', '{"X": 1}')$$, '42501', NULL, 'not everybody makes models');
SELECT throws_ok($$SELECT glm_linear_fit('u', 'SELECT 1, 1')$$, '42501', NULL, 'or fits them');
SELECT throws_ok($$SELECT glm_linear_drop('z')$$, '42501', NULL, 'or drops them');
SELECT throws_ok($$SELECT * FROM chatglm.linear_model$$, '42501', NULL, 'or reads the table');
SELECT is(glm_predict('z', '{"X": 1}'), 6::float8, 'but everybody predicts');
SELECT results_eq($$SELECT link, features, weights IS NULL FROM glm_linear_models WHERE name = 'z'$$,
                  $$VALUES ('identity', ARRAY['X'], true)$$, 'and sees what there is, not what is in it');
SET LOCAL ROLE glm_tap_other;
SELECT lives_ok($$SELECT glm_linear_create('mine', '{"X": 1}')$$, 'EXECUTE is enough');
SELECT is(owner, 'glm_tap_other', 'it is its maker''s') FROM glm_linear_models WHERE name = 'mine';
SELECT is(weights, '{"X": 1}', 'who sees it all') FROM glm_linear_models WHERE name = 'mine';
SELECT throws_ok($$SELECT glm_linear_create('z', '{"X": 1}')$$, '42501', 'must be owner of linear model "z"', 'others'' are not replaced');
SELECT throws_ok($$SELECT glm_linear_fit('z', 'SELECT x, x FROM generate_series(1, 9) x')$$, '42501', NULL, 'not by a fit');
SELECT throws_ok($$SELECT glm_linear_drop('z')$$, '42501', NULL, 'nor dropped');
RESET ROLE;
UPDATE chatglm.linear_model SET owner = 'nobody there' WHERE name = 'mine';
SET LOCAL ROLE glm_tap_other;
SELECT throws_ok($$SELECT glm_linear_create('mine', '{"X": 1}')$$, '42501', NULL, 'where the owner is gone it is nobody''s');
SELECT is(weights, NULL, 'nor seen') FROM glm_linear_models WHERE name = 'mine';
RESET ROLE;
UPDATE chatglm.linear_model SET owner = 'glm_tap_other' WHERE name = 'mine';
SET LOCAL ROLE glm_tap_other;
SELECT is(glm_linear_drop('mine'), true, 'one''s own are');
SELECT is(glm_linear_drop('mine'), false, 'once');
RESET ROLE;

-- ---- glm_linear_fit
CREATE TEMP TABLE sample AS
    SELECT i AS id, (i * 37 % 101) / 10.0 AS "X", (i * 53 % 97) / 3.0 - 1000000 AS "Y", sin(i) AS noise FROM generate_series(1, 500) i;
CREATE TEMP TABLE summary AS
    SELECT glm_linear_fit('exact', 'SELECT "X", "Y", 2.5 * "X" + 1.3 * "Y" + 0.7 FROM sample') AS s;
SELECT is(s - 'r2' - 'rmse', '{"n": 500, "skipped": 0, "features": 2, "link": "identity", "l2": 0}', 'a summary') FROM summary;
SELECT ok(abs((s->>'r2')::float8 - 1) < 1e-12 AND (s->>'rmse')::float8 < 1e-8, 'of a fit that leaves nothing over') FROM summary;
SELECT ok(abs((weights->>'X')::float8 - 2.5) < 1e-9 AND abs((weights->>'Y')::float8 - 1.3) < 1e-9 AND abs(bias - 0.7) < 1e-3,
          'finds the weights') FROM glm_linear_models WHERE name = 'exact';
SELECT ok(abs(glm_predict('exact', '{"X": 1.2, "Y": -1000003.4}') - (2.5 * 1.2 - 1.3 * 1000003.4 + 0.7)) < 1e-6, 'predicts');
SELECT is(m.summary, summary.s, 'the summary is kept') FROM glm_linear_models m, summary WHERE name = 'exact';
SELECT ok(abs((s->>'r2')::float8 - r2) < 1e-12, 'r2 is PostgreSQL''s own')
  FROM (SELECT glm_linear_fit('noisy', 'SELECT "X", 3 * "X" + noise FROM sample') AS s) f,
       (SELECT regr_r2(3 * "X" + noise, "X") AS r2 FROM sample) r;
SELECT ok(abs((weights->>'X')::float8 - slope) < 1e-12 AND abs(bias - intercept) < 1e-12, 'and so are slope and intercept')
  FROM glm_linear_models m, (SELECT regr_slope(3 * "X" + noise, "X") AS slope, regr_intercept(3 * "X" + noise, "X") AS intercept FROM sample) r
 WHERE name = 'noisy';
SELECT is(glm_linear_fit('t', $$SELECT noise > 0 AS "target", "X", noise FROM sample UNION ALL SELECT true, NULL, 1$$,
                         '{"target": "target", "l2": 0.1}') - 'accuracy' - 'log_loss' - 'iterations',
          '{"n": 500, "skipped": 1, "features": 2, "link": "logistic", "l2": 0.1}', 'a target that is named, boolean; NULLs are passed over');
SELECT ok(glm_predict('t', '{"X": 1, "noise": 1}') > 0.7 AND glm_predict('t', '{"X": 1, "noise": -1}') < 0.3, 'predicts probabilities');
-- with one feature of two values the optimum is known: the share of ones in each group
SELECT lives_ok($$SELECT glm_linear_fit('groups', 'SELECT i % 2 AS g, (i % 2 = 0 AND i % 10 < 4) OR (i % 2 = 1 AND i % 10 < 8) FROM generate_series(0, 999) i')$$, 'groups');
SELECT ok(abs(glm_predict('groups', '{"g": 0}') - 0.4) < 1e-9 AND abs(glm_predict('groups', '{"g": 1}') - 0.8) < 1e-9, 'to the optimum');
SELECT ok(abs((summary->>'accuracy')::float8 - 0.7) < 1e-12, 'accuracy') FROM glm_linear_models WHERE name = 'groups';
SELECT ok(abs((summary->>'log_loss')::float8 + (0.4 * ln(0.4) + 0.6 * ln(0.6) + 0.8 * ln(0.8) + 0.2 * ln(0.2)) / 2) < 1e-12, 'log loss')
  FROM glm_linear_models WHERE name = 'groups';
-- at the optimum the gradient is zero, which needs no other solver to check
SELECT lives_ok($$SELECT glm_linear_fit('two', 'SELECT "X", id % 7 AS "Z", noise + "X" / 20 > 0.2 FROM sample')$$, 'two features');
SELECT ok(abs(sum(d)) < 1e-5 AND abs(sum(d * "X")) < 1e-5 AND abs(sum(d * "Z")) < 1e-5, 'no weight could be better')
  FROM (SELECT "X", id % 7 AS "Z", (noise + "X" / 20 > 0.2)::int - glm_predict('two', jsonb_build_object('X', "X", 'Z', id % 7)) AS d FROM sample) s;
SELECT lives_ok($$SELECT glm_linear_fit('ridge', 'SELECT "X", 3 * "X" + noise FROM sample', '{"l2": 0.5}')$$, 'a penalty');
SELECT ok(abs((weights->>'X')::float8 - slope / 1.5) < 1e-12, 'makes one weight smaller by 1 + l2')
  FROM glm_linear_models m, (SELECT regr_slope(3 * "X" + noise, "X") AS slope FROM sample) r WHERE name = 'ridge';
SELECT lives_ok($$SELECT glm_linear_fit('array', 'SELECT ARRAY[i, i * i, 1 / i::float]::real[], i + 2 * i * i FROM generate_series(1, 60) i')$$, 'features in an array');
SELECT ok(abs(glm_predict('array', ARRAY[7, 49, 1 / 7.0]::real[]) - 105) < 1e-4, 'predict from one');

SELECT throws_ok($$SELECT glm_linear_fit('e', 'SELECT i, i, sin(i) FROM generate_series(1, 50) i')$$, '42701', NULL, 'two columns of a name');
SELECT throws_ok($$SELECT glm_linear_fit('e', 'SELECT i, 2 * i AS j, sin(i) FROM generate_series(1, 50) i')$$, '22023',
                 'feature "j" is a sum of others, with weights', 'dependent features');
SELECT throws_ok($$SELECT glm_linear_fit('e', 'SELECT i, 4 AS j, sin(i) FROM generate_series(1, 50) i')$$, '22023',
                 'feature "j" is the same in all rows', 'a constant one');
SELECT throws_ok($$SELECT glm_linear_fit('e', 'SELECT i, i > 25 FROM generate_series(1, 50) i')$$, '22023', NULL, 'separated targets');
SELECT lives_ok($$SELECT glm_linear_fit('e', 'SELECT i, i > 25 FROM generate_series(1, 50) i', '{"l2": 0.01}')$$, 'but with a penalty');
SELECT throws_ok(format('SELECT glm_linear_fit(''e'', %L, %L)', query, options), state, NULL, coalesce(query, 'NULL') || ' ' || coalesce(options, ''))
  FROM (VALUES ('SELECT i, 3 FROM generate_series(1, 9) i', '{"link": "logistic"}', '22023'),
               ('SELECT i, true FROM generate_series(1, 9) i', NULL, '22023'),
               ('SELECT i FROM generate_series(1, 9) i', NULL, '22023'),
               ('SELECT i::text, i FROM generate_series(1, 9) i', NULL, '22023'),
               ('SELECT i, i::text FROM generate_series(1, 9) i', NULL, '22023'),
               ('SELECT i, sin(i) FROM generate_series(1, 1) i', NULL, '22023'),
               ('SELECT i, sin(i) FROM generate_series(1, 0) i', NULL, '22023'),
               ('SELECT NULL::int, 1 FROM generate_series(1, 9) i', NULL, '22023'),
               ('SELECT ''NaN''::float8, 1 FROM generate_series(1, 9) i', NULL, '22023'),
               ('SELECT array_fill(1::real, ARRAY[i]), 1 FROM generate_series(1, 9) i', NULL, '22023'),
               ('SELECT i, i FROM generate_series(1, 9) AS t(i)', '{"target": "j"}', '22023'),
               ('SELECT 1, 1', '{"lasso": 1}', '22023'), ('SELECT 1, 1', '{"l2": -1}', '22023'), ('SELECT 1, 1', '[]', '22023'),
               ('SELECT 1, 1; SELECT 1, 1', NULL, '22023'), ('VACUUM', NULL, '22023'), ('SELECT 1/0, 1', NULL, '22012'),
               ('INSERT INTO sample VALUES (1) RETURNING 1, 2', NULL, '0A000'), ('nonsense', NULL, '42601'), (NULL, NULL, '22004')) v(query, options, state);

SET LOCAL transaction_read_only = on;
SELECT throws_ok($$SELECT glm_linear_create('r', '{"X": 1}')$$, '25006', NULL, 'not where nothing may be written');
SELECT throws_ok($$SELECT glm_linear_fit('r', 'SELECT 1, 1')$$, '25006', NULL, 'nor fitted');
SELECT throws_ok($$SELECT glm_linear_drop('z')$$, '25006', NULL, 'nor dropped');
SELECT is(glm_predict('z', '{"X": 1}'), 6::float8, 'but used');

SELECT * FROM finish();
ROLLBACK;
