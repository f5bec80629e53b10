"""test_readme.py - what README.md tells to type works.

Every block of the page is fenced and says what it is.  Blocks marked `sql` run from top to bottom in one new database, in one
psql; `sql (not run: why)` is for those that need what a test has not got.  A comment `--> answer` on the last line of a
statement or behind it is compared with what the statement answers.
"""
import re
import unittest

from harness import *

DATABASE = "chatglm_readme"
LANGUAGES = {"sql", "sh", "ini", "python"}
MARK = "<<end of statement>>"

with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as readme:
    PAGE = readme.read()
BLOCKS = [(match.group(1), match.group(2), PAGE.count("\n", 0, match.start()) + 1)
          for match in re.finditer(r"^```(.*)\n((?:.*\n)*?)```$", PAGE, re.MULTILINE)]


class Statement:
    def __init__(self, text, line):
        self.text, self.line, self.expected = text, line, None


def statements(block, first_line):
    """Splits where a line ends with a semicolon, a comment aside, outside of a dollar-quoted body."""
    found, lines, quoted = [], [], False
    for number, line in enumerate(block.splitlines(), first_line + 1):
        code, arrow, answer = line.partition("-->")
        quoted ^= code.count("$$") % 2 == 1
        lines.append(code)
        ended = not quoted and (re.search(r";\s*(--.*)?$", code) or code.startswith("\\"))
        if ended:
            found.append(Statement("\n".join(lines), number))
            lines = []
        if arrow:
            found[-1].expected = answer.strip()
            lines = []
    assert not "".join(lines).strip(), f"README.md:{first_line}: a statement without an end: {lines}"
    return found


class Readme(unittest.TestCase):
    def setUp(self):
        wait_until(lambda: value("SELECT glm_ready()"), "the worker is up")
        self.addCleanup(self.run_psql, "postgres", f"DROP DATABASE IF EXISTS {DATABASE}")
        self.run_psql("postgres", f"DROP DATABASE IF EXISTS {DATABASE};\nCREATE DATABASE {DATABASE};")

    def run_psql(self, database, script):
        return subprocess.run([os.path.join(BINDIR, "psql"), "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", database], input=script,
                              env={**os.environ, "PGCLIENTENCODING": "UTF8"}, encoding="utf-8", stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, check=False)

    def test_every_block_says_what_it_is(self):
        self.assertEqual(PAGE.count("\n```"), 2 * len(BLOCKS))
        for info, _, line in BLOCKS:
            self.assertTrue(info in LANGUAGES or re.fullmatch(r"sql \(not run: .+\)", info), f"README.md:{line}: {info}")
        outside = re.sub(r"^```.*\n(?:.*\n)*?```$", "", PAGE, flags=re.MULTILINE)
        self.assertEqual(re.findall(r"\n\n(    .*)", outside), [], "code that is not fenced")

    def test_the_sql_runs_and_answers_as_it_says(self):
        todo = [statement for info, block, line in BLOCKS if info == "sql" for statement in statements(block, line)]
        self.assertGreater(sum(statement.expected is not None for statement in todo), 5)
        script = "".join(f"{statement.text}\n\\echo '{MARK}'\n" for statement in todo)
        done = self.run_psql(DATABASE, script)
        answers = done.stdout.split(MARK + "\n")
        where = todo[min(len(answers), len(todo)) - 1]
        self.assertEqual(done.returncode, 0, f"README.md:{where.line}: {done.stderr}")
        for statement, answer in zip(todo, answers):
            if statement.expected is not None:
                self.assertEqual(answer.strip(), statement.expected, f"README.md:{statement.line}")

    def test_the_python_is_python(self):
        for info, block, line in BLOCKS:
            if info == "python":
                compile(block, f"README.md:{line}", "exec")

    def test_every_make_is_a_target(self):
        with open(os.path.join(ROOT, "Makefile"), encoding="utf-8") as makefile:
            targets = set(re.findall(r"^([a-z][a-z-]*)(?: [a-z -]*)?:", makefile.read(), re.MULTILINE))
        targets |= {"all", "clean", "install", "uninstall"}
        code = "\n".join([*re.findall(r"`([^`]+)`", PAGE), *(block for info, block, _ in BLOCKS if info == "sh")])
        named = re.findall(r"\bmake ([a-z][a-z-]*)", code)
        self.assertIn("demo", named)
        self.assertEqual(set(named) - targets, set())

    def test_files_that_it_names_are_there(self):
        names = re.findall(r"`((?:src|test|models)/[^`*? ]+)`", PAGE) + re.findall(r"\]\(((?:src|test|docs)/[^)#]+)", PAGE)
        self.assertGreater(len(names), 10)
        self.assertEqual([name for name in names if not os.path.exists(os.path.join(ROOT, name))], [])


if __name__ == "__main__":
    unittest.main()
