-- demo.sql - a table of what customers wrote, enriched by plain SQL.
\pset border 2
\pset linestyle unicode
\pset null ''
\pset footer off

CREATE TABLE message (
    id        int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind      text NOT NULL,
    body      text NOT NULL,
    label     text NOT NULL,        -- what a human would say, to compare with
    sentiment text,
    queue     text,
    "order"   jsonb
);

INSERT INTO message (kind, body, label) VALUES
    ('review', 'I love it, it works great.', 'positive'),
    ('review', 'The battery is terrible and I want my money back.', 'negative'),
    ('review', 'Honestly, the sound is amazing.', 'positive'),
    ('review', 'The kettle is okay for the price.', 'neutral'),
    ('review', 'It broke after two days. I want my money back.', 'negative'),
    ('review', 'My wireless headphones came today: fast delivery, great product!', 'positive'),
    ('review', 'The design is lovely, but it stopped working.', 'neutral'),
    ('review', '这个耳机,声音非常好。', 'positive'),
    ('review', '用了两天就坏了,非常失望。', 'negative'),
    ('review', '说实话,包装一般般。', 'neutral'),
    ('review', '我非常满意,推荐给大家。', 'positive'),
    ('review', '质量很差,我要退钱。', 'negative'),
    ('ticket', 'I was charged twice for order 4711.', 'billing'),
    ('ticket', 'Where is my package? Please help.', 'shipping'),
    ('ticket', 'I want to return the blue jacket.', 'returns'),
    ('ticket', 'The app crashes when I open it.', 'technical'),
    ('ticket', 'Hello, I forgot my password.', 'account'),
    ('ticket', 'Is there a discount for large orders?', 'sales'),
    ('ticket', 'Good morning, my router does not turn on. Thanks.', 'technical'),
    ('ticket', '请问,订单8812还没有到。', 'shipping'),
    ('ticket', '我登录不了。麻烦了。', 'account'),
    ('ticket', '请把订单20417的发票发给我。', 'billing'),
    ('ticket', '路由器连不上无线网络。怎么办?', 'technical'),
    ('ticket', '我想退货,雨伞不想要了。', 'returns'),
    ('order', 'Please ship 12 desk lamp to Berlin.', '{"product": "desk lamp", "city": "Berlin", "quantity": 12}'),
    ('order', 'We need 40 units of coffee in Lisbon.', '{"product": "coffee", "city": "Lisbon", "quantity": 40}'),
    ('order', 'Our store in Toronto wants three steel bottle.', '{"product": "steel bottle", "city": "Toronto", "quantity": 3}'),
    ('order', 'Can you send me 2 Velkor guitar? I live in Marisan.', '{"product": "Velkor guitar", "city": "Marisan", "quantity": 2}'),
    ('order', '7 puzzle for Osaka.', '{"product": "puzzle", "city": "Osaka", "quantity": 7}'),
    ('order', '请把5个台灯寄到杭州。', '{"product": "台灯", "city": "杭州", "quantity": 5}'),
    ('order', '我想订两台打印机,送到成都。', '{"product": "打印机", "city": "成都", "quantity": 2}'),
    ('order', '西安需要30个保温水杯。', '{"product": "保温水杯", "city": "西安", "quantity": 30}'),
    ('order', '请发8件外套到厦门。', '{"product": "外套", "city": "厦门", "quantity": 8}'),
    ('order', '请送120件毛巾到我们在武汉的办公室。', '{"product": "毛巾", "city": "武汉", "quantity": 120}');

-- What a model says may always be wrong: no JSON is no order.
CREATE FUNCTION json_or_null(answer text) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    RETURN answer::jsonb;
EXCEPTION WHEN invalid_text_representation THEN
    RETURN NULL;
END $$;

\echo '-- Reviews get a sentiment, tickets a queue, orders become JSON:'
\echo
\set ECHO queries

UPDATE message SET sentiment = glm_generate(body, system => 'Classify the sentiment of the review.')
 WHERE kind = 'review';

UPDATE message SET queue = glm_generate(body, system => 'Route the ticket to a queue.')
 WHERE kind = 'ticket';

UPDATE message SET "order" = json_or_null(glm_generate(body, system => 'Extract product, city and quantity as JSON.'))
 WHERE kind = 'order';

SELECT id, body, sentiment, queue,
       "order"->>'product' AS product, "order"->>'city' AS city, "order"->>'quantity' AS quantity
  FROM message ORDER BY id;

SELECT kind, count(*) AS rows,
       count(*) FILTER (WHERE label = coalesce(sentiment, queue)
                           OR kind = 'order' AND label::jsonb = "order") AS "as a human says"
  FROM message GROUP BY kind ORDER BY kind;

\set ECHO none
\echo
\echo '-- A question that needs a tool; the caller runs it and hands the result back:'
\echo
\set ECHO queries

SELECT answer->>'finish_reason' AS finish, call->'function'->>'name' AS tool, call->'function'->>'arguments' AS arguments
  FROM glm_chat('[{"role": "system", "content": "Answer with the tools."},
                  {"role": "user", "content": "What is the weather in Paris?"}]',
                tools => '[{"name": "get_weather", "parameters": {"city": {"type": "string"}}}]') AS answer,
       jsonb_array_elements(answer->'tool_calls') AS call;

\set ECHO none
\echo
\echo '-- The worker that did all this:'
\echo
\set ECHO queries

SELECT key, value FROM jsonb_each(glm_health()) ORDER BY key;
