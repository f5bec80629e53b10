-- task_prompt.sql - the prompts of tasks: what is shown, who may change them, what they may say.
\set ON_ERROR_STOP on
\set QUIET on
BEGIN;
CREATE ROLE glm_tap_user;
CREATE ROLE glm_tap_editor;
GRANT USAGE ON SCHEMA chatglm TO glm_tap_user, glm_tap_editor;
GRANT INSERT, UPDATE, DELETE ON chatglm.task_prompt TO glm_tap_editor;
SELECT plan(47);

SELECT is((SELECT count(*) FROM chatglm.task_prompt WHERE language = 'en'), 14::bigint, 'a prompt for each task');
SELECT is((SELECT count(*) FROM chatglm.task_prompt WHERE language = 'zh'), 14::bigint, 'in Chinese, too');
SELECT is(count(*), 0::bigint, 'no row of the extension''s is one that was changed') FROM chatglm.task_prompt WHERE changed;
SELECT is(glm_task_prompt(name, language), text, format('%s is shown in %s', name, language))
  FROM chatglm.task_prompt WHERE name IN ('translate', 'sentiment') ORDER BY name, language;
SELECT is(glm_task_prompt('sentiment', 'fr'), E'Classify the sentiment of the review.\n---\n{content}', 'English where a language has none');
SELECT is(glm_task_prompt(NULL), NULL, 'NULL');
SELECT is(glm_task_prompt('sentiment', NULL), glm_task_prompt('sentiment', 'en'), 'English by default');
SET LOCAL chatglm.task_language = 'zh';
SELECT matches(glm_task_prompt('sentiment'), '判断', 'the setting says in what language');
SELECT isnt(glm_task_prompt('sentiment', 'en'), glm_task_prompt('sentiment'), 'the argument goes before it');
RESET chatglm.task_language;
SELECT throws_ok($$SELECT glm_task_prompt('nonesuch')$$, '42704', 'task "nonesuch" has no prompt', 'no such task');

-- ---- changes ----
SELECT lives_ok($$UPDATE chatglm.task_prompt SET text = 'Shorter: {content}' WHERE name = 'summarize' AND language = 'en'$$, 'changed');
SELECT is(glm_task_prompt('summarize'), 'Shorter: {content}', 'it is in force');
SELECT is(glm_task_prompt('summarize', 'fr'), 'Shorter: {content}', 'where there is none in a language, too');
SELECT ok(changed, 'it says so') FROM chatglm.task_prompt WHERE name = 'summarize' AND language = 'en';
SELECT lives_ok($$UPDATE chatglm.task_prompt SET changed = false WHERE name = 'summarize'$$, 'nobody can make it forget');
SELECT ok(bool_and(changed), 'that it was changed') FROM chatglm.task_prompt WHERE name = 'summarize';
SELECT lives_ok($$DELETE FROM chatglm.task_prompt WHERE name = 'summarize'$$, 'deleted');
SELECT is(glm_task_prompt('summarize', language), text, 'then the extension''s own is in force: ' || language)
  FROM chatglm.own_task_prompts() WHERE name = 'summarize' ORDER BY language;
SELECT lives_ok($$INSERT INTO chatglm.task_prompt VALUES ('summarize', 'de', 'Fasse zusammen: {content}')$$, 'another language');
SELECT is(glm_task_prompt('summarize', 'de'), 'Fasse zusammen: {content}', 'is found');
SELECT lives_ok($$INSERT INTO chatglm.task_prompt VALUES ('translate', 'en', 'To {language}: {content}')$$,
                'a new row takes the place of the extension''s');
SELECT is(glm_task_prompt('translate'), 'To {language}: {content}', 'and is in force');
SELECT throws_ok($$INSERT INTO chatglm.task_prompt VALUES ('translate', 'en', '{language}, {content}')$$, '23505', NULL,
                 'but not of one that was changed');
SELECT lives_ok($$INSERT INTO chatglm.task_prompt VALUES ('agg', 'en', '{instruction} {content}') ON CONFLICT (name, language) DO UPDATE SET text = 'x'$$,
                'where there is the extension''s there is no conflict');
SELECT is(glm_task_prompt('agg'), '{instruction} {content}', 'it is replaced');
SELECT lives_ok($$INSERT INTO chatglm.task_prompt VALUES ('agg', 'en', '{instruction}: {content}') ON CONFLICT (name, language) DO UPDATE SET text = excluded.text$$,
                'where there is another one there is');
SELECT throws_ok($$INSERT INTO chatglm.task_prompt VALUES ('filter', 'en', '{question} {content}'), ('filter', 'en', '{question}: {content}')$$, '23505', NULL,
                 'two rows for one');
SELECT lives_ok($$INSERT INTO chatglm.task_prompt VALUES ('mine', 'en', 'Whatever {this} is')$$, 'a task of one''s own');
SELECT is(glm_task_prompt('mine'), 'Whatever {this} is', 'is shown');

-- ---- what they may say ----
SELECT throws_ok($$UPDATE chatglm.task_prompt SET text = 'x {content} {contents}' WHERE name = 'extract'$$, '22023',
                 'the prompt of task "extract" has the unknown placeholder {contents}', 'an unknown placeholder');
SELECT throws_ok($$UPDATE chatglm.task_prompt SET text = 'x {schema}' WHERE name = 'extract'$$, '22023',
                 'the prompt of task "extract" lacks the placeholder {content}', 'one that must be there');
SELECT throws_ok($$UPDATE chatglm.task_prompt SET text = '{{content}' WHERE name = 'extract'$$, '22023',
                 'the prompt of task "extract" lacks the placeholder {content}', 'two braces are none');
SELECT throws_ok($$UPDATE chatglm.task_prompt SET text = '{content} {"a": 1}' WHERE name = 'extract'$$, '22023',
                 'the prompt of task "extract" has a brace that begins no placeholder', 'a brace of no placeholder');
SELECT throws_ok($$UPDATE chatglm.task_prompt SET text = '{content} {' WHERE name = 'extract'$$, '22023', NULL, 'nor at the end');
SELECT throws_ok($$UPDATE chatglm.task_prompt SET text = '{content} {content' WHERE name = 'extract'$$, '22023', NULL, 'an open one');
SELECT lives_ok($$UPDATE chatglm.task_prompt SET text = '{content} {{"a": 1}' WHERE name = 'extract'$$, 'a brace of two');
SELECT throws_ok($$UPDATE chatglm.task_prompt SET text = NULL WHERE name = 'extract'$$, '23502', NULL, 'no text');
SELECT throws_ok($$INSERT INTO chatglm.task_prompt VALUES ('extract', NULL, '{content}')$$, '23502', NULL, 'no language');

-- ---- who may ----
SET ROLE glm_tap_user;
SELECT isnt((SELECT text FROM chatglm.task_prompt WHERE name = 'agg' AND language = 'en'), NULL, 'everybody may read them');
SELECT isnt(glm_task_prompt('agg'), NULL, 'and be shown them');
SELECT throws_ok($$UPDATE chatglm.task_prompt SET text = '{content}' WHERE name = 'extract'$$, '42501', NULL, 'but not change them');
SET ROLE glm_tap_editor;
SELECT lives_ok($$INSERT INTO chatglm.task_prompt VALUES ('extract', 'fr', '{content}')$$, 'but for whom it was granted to');
RESET ROLE;
CREATE TABLE other (a int);
CREATE TRIGGER t BEFORE INSERT ON other FOR EACH ROW EXECUTE FUNCTION chatglm.check_task_prompt();
SELECT throws_ok('INSERT INTO other VALUES (1)', '55000', NULL, 'the trigger is of no use elsewhere');

SELECT * FROM finish();
ROLLBACK;
