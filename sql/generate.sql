--
-- Answers as plain values: in the select list, in UPDATE, with every argument.
--
\pset format unaligned
CREATE TABLE review (id int PRIMARY KEY, body text, sentiment text);
INSERT INTO review VALUES
    (1, 'I love it, it works great.'), (2, 'It broke after two days. I want my money back.'),
    (3, '质量很差,我要退钱。'), (4, '我非常满意,推荐给大家。'), (5, NULL);
UPDATE review SET sentiment = glm_generate(body, system => 'Classify the sentiment of the review.');
SELECT id, sentiment FROM review ORDER BY id;

SELECT glm_generate('Who are you?');

-- whatever the planner does with the call, the answer is the same
PREPARE ask(text) AS SELECT glm_generate($1, system => 'Classify the sentiment of the review.');
EXECUTE ask('I love it, it works great.');
EXECUTE ask(NULL);
DEALLOCATE ask;
SELECT glm_generate(body, system => 'Classify the sentiment of the review.') AS answer, count(*)
  FROM review WHERE id < 3 GROUP BY 1 ORDER BY 1;
DO $$
BEGIN
    IF glm_generate('hello') IS DISTINCT FROM glm_chat('[{"role": "user", "content": "hello"}]')->>'content' THEN
        RAISE 'glm_generate and glm_chat disagree';
    END IF;
END $$;

-- settings are the defaults of arguments
SET chatglm.max_tokens = 3;
SELECT glm_generate('Who are you?') = glm_generate('Who are you?', max_tokens => 3) AS "max_tokens",
       glm_generate('Who are you?') <> glm_generate('Who are you?', max_tokens => 5) AS "is obeyed";
RESET chatglm.max_tokens;
SET chatglm.model = 'nonesuch';
SELECT glm_generate('hello');
SELECT glm_generate('Who are you?', model => 'tiny-chatglm3');
RESET chatglm.model;
SET chatglm.temperature = 100;
SELECT glm_generate('hello', seed => 7) = glm_generate('hello', temperature => 100, seed => 7) AS "temperature",
       count(DISTINCT glm_generate('hello', top_p => 1, max_tokens => 10)) > 1 AS "without a seed"
  FROM generate_series(1, 5) GROUP BY 1;
RESET chatglm.temperature;

-- stop strings
SELECT glm_generate('Who are you?', stop => '{small}') AS "before small",
       glm_generate('Who are you?', stop => '{nonesuch}') = glm_generate('Who are you?') AS "none found";

-- the one response_format there is; known options
SELECT glm_generate('Who are you?', response_format => '{"type": "text"}',
                    options => '{"min_p": 0.1, "repetition_penalty": 1, "timeout_ms": 60000}');

-- a raw continuation
SELECT glm_complete('I am tiny-', max_tokens => 4) = glm_complete('I am tiny-', max_tokens => 4) AS same,
       glm_complete(NULL) IS NULL AS "NULL";

DROP TABLE review;
