-- generate.sql - answers: the embedded model's, and those of the sampler's arguments.
\set ON_ERROR_STOP on
\set QUIET on
BEGIN;
CREATE EXTENSION chatglm_tap;
SELECT plan(35);

-- ---- the embedded model's tasks ----
SELECT answer_is(body, mood, format('sentiment of %L', body), '{"system": "Classify the sentiment of the review."}')
  FROM (VALUES ('I love it, it works great.', 'positive'), ('It broke after two days. I want my money back.', 'negative'),
               ('质量很差,我要退钱。', 'negative'), ('我非常满意,推荐给大家。', 'positive')) v(body, mood);
SELECT answer_is(body, queue, format('queue of %L', body), '{"system": "为工单选择队列。"}')
  FROM (VALUES ('I was charged twice for order 4711.', 'billing'), ('Hello, I forgot my password.', 'account'),
               ('路由器黑屏了。', 'technical'), ('请问,订单8812还没有到。', 'shipping')) v(body, queue);
SELECT is(glm_generate('Please ship 12 desk lamp to Berlin.', system => 'Extract product, city and quantity as JSON.')::jsonb,
          '{"product": "desk lamp", "city": "Berlin", "quantity": 12}', 'an order becomes JSON');
SELECT answer_is('Who are you?', 'I am tiny-chatglm3, a small language model that lives in PostgreSQL.', 'who are you');
SELECT answer_is('你好', '你好!有什么可以帮你?', '你好');

-- ---- forms that must agree ----
SELECT is(glm_chat('[{"role": "user", "content": "hello"}]')->>'content', glm_generate('hello'), 'glm_chat and glm_generate');
SELECT is(glm_chat('[{"role": "system", "content": "为工单选择队列。"}, {"role": "user", "content": "hello"}]')->>'content',
          glm_generate('hello', system => '为工单选择队列。'), 'with a system message');
SELECT is((SELECT string_agg(token, '' ORDER BY seq) FROM glm_stream('hello')), glm_generate('hello'), 'glm_stream in FROM');
SELECT is((SELECT string_agg((s).token, '' ORDER BY (s).seq) FROM (SELECT glm_stream('hello') AS s) t), glm_generate('hello'),
          'glm_stream in the select list');
SELECT is((SELECT array_agg(token_id ORDER BY seq) FROM glm_chat_stream('[{"role": "user", "content": "hello"}]')),
          (SELECT array_agg(token_id ORDER BY seq) FROM glm_stream('hello')), 'glm_chat_stream');
SELECT is((SELECT max(finish_reason) FROM glm_stream('hello', max_tokens => 3)), 'length', 'finish_reason length');
SELECT is((SELECT count(*) FROM glm_stream('hello', max_tokens => 3)), 3::bigint, 'a row for each token');
SELECT is((SELECT count(*) FROM glm_stream('hello') WHERE finish_reason IS NOT NULL), 1::bigint, 'one row has a finish_reason');
SELECT is(glm_complete('I am tiny-', max_tokens => 4), glm_complete('I am tiny-', max_tokens => 4), 'a continuation');

-- ---- greedy is what the logits say ----
SELECT is((SELECT token_id FROM glm_stream('hello') LIMIT 1),
          (SELECT i::int - 1 FROM unnest(glm_logits(glm_chat_tokens('[{"role": "user", "content": "hello"}]'))) WITH ORDINALITY u(x, i)
            ORDER BY x DESC, i LIMIT 1),
          'temperature 0 takes the largest logit');
SELECT is((SELECT array_agg(token_id ORDER BY seq) FROM glm_stream('hello', temperature => 2, top_k => 1, seed => 5)),
          (SELECT array_agg(token_id ORDER BY seq) FROM glm_stream('hello')), 'top_k 1 is greedy');
SELECT is((SELECT array_agg(token_id ORDER BY seq) FROM glm_stream('hello', temperature => 1, top_p => 1e-9, seed => 5)),
          (SELECT array_agg(token_id ORDER BY seq) FROM glm_stream('hello')), 'so is a tiny top_p');
SELECT is((SELECT array_agg(token_id ORDER BY seq) FROM glm_stream('hello', temperature => 1, seed => 5, options => '{"min_p": 0.9999}')),
          (SELECT array_agg(token_id ORDER BY seq) FROM glm_stream('hello')), 'so is a min_p close to 1');
SELECT is(glm_generate('hello', temperature => 3, top_p => 1, seed => -7), glm_generate('hello', temperature => 3, top_p => 1, seed => -7),
          'the seed decides, negative ones too');
SELECT cmp_ok((SELECT count(DISTINCT glm_generate('hello', temperature => 3, top_p => 1, max_tokens => 8)) FROM generate_series(1, 8)),
              '>', 1::bigint, 'without a seed answers differ');
SELECT isnt(glm_generate('Repeat: Anna Anna Anna Anna', options => '{"repetition_penalty": 50}'),
            glm_generate('Repeat: Anna Anna Anna Anna'), 'a repetition penalty changes an answer');

-- ---- stop strings ----
SELECT is(glm_generate('Who are you?', stop => ARRAY['small']), 'I am tiny-chatglm3, a', 'a stop string ends the answer, and is not in it');
SELECT is(glm_generate('Who are you?', stop => ARRAY['nonesuch', 'lang', 'language']), 'I am tiny-chatglm3, a small', 'the first to come');
SELECT is((SELECT string_agg(token, '' ORDER BY seq) FROM glm_stream('Who are you?', stop => ARRAY['small'])),
          glm_generate('Who are you?', stop => ARRAY['small']), 'in a stream too');
SELECT is(glm_chat('[{"role": "user", "content": "Who are you?"}]', stop => ARRAY['small'])->>'finish_reason', 'stop', 'finish_reason stop');

-- ---- NULL ----
SELECT is(glm_generate(NULL), NULL, 'NULL in, NULL out: generate');
SELECT is(glm_complete(NULL), NULL, 'complete');
SELECT is(glm_chat(NULL), NULL, 'chat');
SELECT is((SELECT count(*) FROM glm_stream(NULL)), 0::bigint, 'a stream has no rows');

SELECT * FROM finish();
ROLLBACK;
