"""test_docs.py - what README.md and docs/ tell to type works, and what they name is there.

Every block of a page is fenced and says what it is:

    sql                     runs in psql, all of a page from top to bottom in one new database of its own
    sh                      runs in the source tree, with the page's database as the default one
    ini, json, text         shows something
    python                  is compiled
    LANGUAGE (test/examples/FILE)   is that file, which `make examples` runs
    LANGUAGE (not run: why) cannot be run here

An answer behind `-->`, on the last line of a statement or on the next, is compared with what the statement answers; in sh, each
`# --> line` must be among the lines printed, in this order.
"""
import re
import unittest

from harness import *

DATABASE = "chatglm_docs"
LANGUAGES = {"sql", "sh", "ini", "json", "text", "python"}
MARK = "<<end of statement>>"
FENCED = re.compile(r"^```(.*)\n((?:.*\n)*?)```$", re.MULTILINE)


def text_of(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        return file.read()


PAGES = {path: text_of(path) for path in
         ["README.md", *sorted(f"docs/{name}" for name in os.listdir(os.path.join(ROOT, "docs")) if name.endswith(".md"))]}


def blocks(path):
    """Its info string, its text and its line, of each block."""
    page = PAGES[path]
    return [(match.group(1), match.group(2), page.count("\n", 0, match.start()) + 1) for match in FENCED.finditer(page)]


def prose(path):
    return FENCED.sub("", PAGES[path])


def anchors(text):
    """What GitHub calls the headings of a page."""
    found = set()
    for heading in re.findall(r"^#+ (.*)$", FENCED.sub("", text), re.MULTILINE):
        found.add(re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-"))
    return found


def tables(text):
    """Rows of each table of a text, the header first, the line of dashes left out; cells of a row."""
    found = []
    for match in re.finditer(r"(?:^\|.*\|\n)+", text, re.MULTILINE):
        rows = [[cell.strip() for cell in re.split(r"(?<=\s)\|(?=\s)", line.strip()[1:-1])] for line in match.group(0).splitlines()]
        found.append([rows[0], *rows[2:]])
    return found


def code(cell):
    """The words in backticks of a cell."""
    return re.findall(r"`([^`]+)`", cell)


# ---- Blocks ---------------------------------------------------------------------

class Statement:
    def __init__(self, text, line):
        self.text, self.line, self.expected = text, line, None


def statements(path, block, first_line):
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
    assert not "".join(lines).strip(), f"{path}:{first_line}: a statement without an end: {lines}"
    return found


class Blocks(unittest.TestCase):
    def setUp(self):
        wait_until(lambda: value("SELECT glm_ready()"), "the worker is up")
        self.addCleanup(self.run_psql, "postgres", f"DROP DATABASE IF EXISTS {DATABASE}")

    def new_database(self):
        self.run_psql("postgres", f"DROP DATABASE IF EXISTS {DATABASE};\nCREATE DATABASE {DATABASE};")
        self.run_psql(DATABASE, "CREATE EXTENSION chatglm;")

    def run_program(self, *command, database, **arguments):
        env = {**os.environ, "PGCLIENTENCODING": "UTF8", "PGDATABASE": database, "PATH": f"{BINDIR}:{os.environ['PATH']}"}
        return subprocess.run(command, cwd=ROOT, env=env, encoding="utf-8", stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              check=False, **arguments)

    def run_psql(self, database, script):
        return self.run_program("psql", "-XAtq", "-v", "ON_ERROR_STOP=1", database=database, input=script)

    def test_every_block_says_what_it_is(self):
        for path, page in PAGES.items():
            self.assertEqual(page.count("\n```"), 2 * len(blocks(path)), path)
            for info, text, line in blocks(path):
                example = re.fullmatch(r"\w+ \((test/examples/\S+)\)", info)
                if example:
                    self.assertEqual(text, text_of(example.group(1)), f"{path}:{line} is another {example.group(1)}")
                elif not re.fullmatch(r"(sql|sh|python) \(not run: .+\)", info):
                    self.assertIn(info, LANGUAGES, f"{path}:{line}")
            self.assertEqual(re.findall(r"\n\n(    .*)", prose(path)), [], f"{path}: code that is not fenced")

    def test_every_example_is_shown(self):
        shown = {info for path in PAGES for info, _, _ in blocks(path)}
        for name in os.listdir(os.path.join(ROOT, "test/examples")):
            if name not in ("run.py", "install.sh", "__pycache__"):
                self.assertTrue(any(f"(test/examples/{name})" in info for info in shown), name)

    def test_the_sql_runs_and_answers_as_it_says(self):
        for path in PAGES:
            todo = [statement for info, block, line in blocks(path) if info == "sql" for statement in statements(path, block, line)]
            with self.subTest(path):
                self.new_database()
                script = "".join(f"{statement.text}\n\\echo '{MARK}'\n" for statement in todo)
                done = self.run_psql(DATABASE, script)
                answers = done.stdout.split(MARK + "\n")
                where = todo[min(len(answers), len(todo)) - 1].line if todo else 0
                self.assertEqual(done.returncode, 0, f"{path}:{where}: {done.stderr}")
                for statement, answer in zip(todo, answers):
                    if statement.expected is not None:
                        self.assertEqual(answer.strip(), statement.expected, f"{path}:{statement.line}")

    def test_the_shell_runs_and_prints_as_it_says(self):
        for path in PAGES:
            todo = [(block, line) for info, block, line in blocks(path) if info == "sh"]
            if todo:
                self.new_database()
            for block, line in todo:
                with self.subTest(f"{path}:{line}"):
                    done = self.run_program("bash", "-euo", "pipefail", "-c", block, database=DATABASE, stdin=subprocess.DEVNULL)
                    self.assertEqual(done.returncode, 0, done.stderr)
                    printed = iter(done.stdout.splitlines())
                    for expected in re.findall(r"# --> (.*)", block):
                        self.assertIn(expected, printed)

    def test_the_python_is_python(self):
        for path in PAGES:
            for info, block, line in blocks(path):
                if info == "python":
                    compile(block, f"{path}:{line}", "exec")


# ---- What the pages name ---------------------------------------------------------

class Names(unittest.TestCase):
    def test_every_make_is_a_target(self):
        targets = set(re.findall(r"^([a-z][a-z-]*)(?: [a-z -]*)?:", text_of("Makefile") + text_of("cuda/cuda.mk"), re.MULTILINE))
        targets |= {"all", "clean", "install", "uninstall"}
        for path, page in PAGES.items():
            code = "\n".join([*re.findall(r"`([^`\n]+)`", page), *(block for info, block, _ in blocks(path) if info.startswith("sh"))])
            self.assertEqual(set(re.findall(r"\bmake ([a-z][a-z-]*)", code)) - targets, set(), path)

    def test_links_lead_somewhere(self):
        for path, page in PAGES.items():
            for target, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]+))?\)", prose(path)):
                if target.startswith("http"):
                    continue
                file = os.path.normpath(os.path.join(os.path.dirname(path), target)) if target else path
                self.assertTrue(os.path.exists(os.path.join(ROOT, file)), f"{path}: {target}")
                if anchor:
                    self.assertIn(anchor, anchors(text_of(file)), f"{path}: {target}")

    def test_files_that_they_name_are_there(self):
        for path, page in PAGES.items():
            for name in re.findall(r"`((?:src|cuda|test|models|docs|\.ci)/[^`*? ]+)`", page):
                self.assertTrue(os.path.exists(os.path.join(ROOT, name)), f"{path}: {name}")


class Faults(unittest.TestCase):
    """Every row of docs/faults.md names tests that are there."""

    def test_its_tests_are_there(self):
        rows = [row for table in tables(PAGES["docs/faults.md"]) for row in table[1:]]
        self.assertGreater(len(rows), 20)
        for row in rows:
            named = re.findall(r"`(test_\w+)\.(\w+)`", row[-1])
            self.assertTrue(named, row[0])
            for module, test in named:
                if test == "py":
                    self.assertTrue(os.path.exists(os.path.join(ROOT, f"test/t/{module}.py")), module)
                else:
                    self.assertIn(f"def {test}(", text_of(f"test/t/{module}.py"), row[0])


class Figures(unittest.TestCase):
    """Measured figures stand in RESULTS.md; other pages may repeat rows of its tables."""

    def test_measured_rows_are_those_of_the_results(self):
        known = {tuple(row[:2]) for table in tables(text_of("test/bench/RESULTS.md")) for row in table}
        found = 0
        for path, page in PAGES.items():
            for header, *rows in tables(page):
                if header[-1] == "Measured":
                    for row in rows:
                        self.assertIn(tuple(row), known, path)
                        found += 1
        self.assertGreater(found, 5)

    def test_there_are_no_others(self):
        for path in [*PAGES, "CHANGELOG.md"]:
            text = "".join(f"| {' | '.join(row)} |\n" for table in tables(text_of(path)) if table[0][-1] != "Measured" for row in table)
            text += re.sub(r"^\|.*\n", "", text_of(path), flags=re.MULTILINE)
            self.assertEqual(re.findall(r"[\d.,]+ (?:tokens/s|GB/s|GFLOP/s|GOP/s|rows/s|µs|us)\b", text), [], path)


class Internals(unittest.TestCase):
    """The page on the sources beside the sources."""

    @classmethod
    def setUpClass(cls):
        cls.page = PAGES["docs/internals.md"]
        cls.room = {}                           # of each file of src and cuda
        cls.sources = ""
        for place, _, names in os.walk(os.path.join(ROOT, "src")):
            folders = os.path.relpath(place, os.path.join(ROOT, "src")).split(os.sep)
            for name in names:
                cls.room[name] = folders[1] if folders[0] == "engine" and len(folders) > 1 else folders[0]
                cls.sources += text_of(os.path.join(place, name))
        for _, _, names in os.walk(os.path.join(ROOT, "cuda")):
            cls.room.update((name, "cuda") for name in names if name.endswith((".c", ".cc", ".cu", ".h")))

    def test_files_that_it_names_are_there(self):
        named = set(re.findall(r"`(\w+\.(?:c|cc|h))`", self.page))
        self.assertEqual(named - set(self.room), set())

    def rows_of(self, *header):
        return next(rows for first, *rows in tables(self.page) if first == list(header))

    def test_every_source_stands_once_in_its_room(self):
        """And every header but those of a source, beside which they are found, and the door."""
        listed = sorted((name, code(room)[0]) for room, _, files in self.rows_of("Room", "Family", "Files") for name in code(files))
        alone = {name for name in self.room if name.endswith((".c", ".cc", ".cu")) or
                 not {name[:-2] + ".c", name[:-2] + ".cc"} & set(self.room)} - {"glm.h"}
        self.assertEqual(listed, sorted((name, self.room[name]) for name in alone))

    def test_files_of_a_prompts_way_are_in_their_rooms(self):
        for _, _, _, files in self.rows_of("Stop", "Thread", "Begins at", "Files"):
            for group in files.split("; "):
                room, names = group.split(": ")
                for name in code(names):
                    self.assertEqual(self.room[name], room, name)

    def test_where_things_are_is_in_their_rooms(self):
        for _, room, files in self.rows_of("What", "Room", "File"):
            for name in code(files):
                self.assertEqual(self.room[name], code(room)[0], name)

    def test_names_of_c_are_in_the_sources(self):
        defined = set(re.findall(r"^(\w+)\(", self.sources, re.MULTILINE))
        begin = {code(row[2])[0] for row in self.rows_of("Stop", "Thread", "Begins at", "Files")}
        self.assertEqual(begin - defined, set())
        page = self.page.partition("\n## Tests\n")[0]
        named = set(re.findall(r"`((?:glm|GLM|chatglm|CHATGLM)_\w+)`", page))
        self.assertEqual(named - set(re.findall(r"\w+", self.sources + text_of("chatglm--1.0.sql"))), set())

    def test_threads_that_it_names_are_started(self):
        started = set(re.findall(r'glm_thread_enter\("([^"]+)"\)', self.sources))
        named = {name for row in self.rows_of("Thread", "How many", "Does", "Never") for name in code(row[0])}
        self.assertEqual(named, started)

    def test_rooms_and_their_rule(self):
        said = {code(room)[0]: below.replace(",", "") for room, below, _ in
                next(rows for header, *rows in tables(self.page) if header[:2] == ["Room", "May include"])}
        self.assertEqual(said["serve"], "all of these")
        rule = dict(re.findall(r"^(\w+): ?([\w ]*)$", text_of(".ci/layers"), re.MULTILINE))
        said["serve"] = " ".join(name for name in said if name != "serve")
        self.assertEqual(said, rule)


# ---- The reference beside the catalogs --------------------------------------------

REFERENCE = text_of("docs/reference.md")
SHORT = {"boolean": "bool", "integer": "int", "double precision": "float8", "timestamp with time zone": "timestamptz"}
CHANGED_BY = {"user": "everybody", "superuser": "superuser", "sighup": "reload", "postmaster": "restart"}
UNITS = {"MB": 1, "GB": 1024}


def short(text):
    """Names of types as people write them, and no casts of defaults."""
    for name, shorter in SHORT.items():
        text = re.sub(rf"\b{name}\b", shorter, text)
    return re.sub(r"(NULL|'\w*')::[\w ]+(\[\])?", r"\1", text)


def plain(text):
    """A text without marks, and as a comment begins."""
    text = re.sub(r"\s+", " ", text.replace("`", "")).strip()
    return text[0].lower() + text[1:].removesuffix(".")


def section(title):
    """What stands below a heading, up to the next of any level."""
    return re.search(rf"^#+ {re.escape(title)}\n(.*?)(?=^#|\Z)", FENCED.sub("", REFERENCE), re.MULTILINE | re.DOTALL).group(1)


def table_of(first_cell, text=REFERENCE):
    """Cells of the rows of the table whose header begins with this."""
    return next(rows for header, *rows in tables(text) if header[0] == first_cell)


class Reference(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.conn = connect()
        cls.addClassCleanup(cls.conn.close)

    def rows(self, sql, *parameters):
        return self.conn.execute(sql, parameters or None).fetchall()

    def members(self):
        """Functions of the extension: name with its schema if that is chatglm, arguments, result, comment."""
        return self.rows("""
            SELECT CASE WHEN n.nspname = 'chatglm' THEN 'chatglm.' ELSE '' END || proname, regexp_replace(pg_get_function_arguments(p.oid), '^IN ', ''),
                   coalesce(pg_get_function_result(p.oid), ''), obj_description(p.oid, 'pg_proc')
              FROM pg_depend d JOIN pg_proc p ON d.classid = 'pg_proc'::regclass AND p.oid = d.objid
              JOIN pg_namespace n ON n.oid = pronamespace JOIN pg_extension e ON e.oid = d.refobjid
             WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND extname = 'chatglm'""")

    def signatures(self):
        """What the page says of each function, by name and arguments: result, first paragraph."""
        common = ", ".join(f"{code(row[0])[0]} DEFAULT NULL" for row in table_of("Argument"))
        found = {}
        for text, after in re.findall(r"^```text\n(.*)\n```\n\n((?:.+\n)+)", REFERENCE, re.MULTILINE):
            name, arguments, result = re.fullmatch(r"(?:CALL )?(\w+)\((.*?)\)(?: returns (.*))?", text).groups("")
            key = name, arguments.replace("…G", common)
            self.assertNotIn(key, found)
            found[key] = (result, after)
        return found

    def test_functions(self):
        found = self.signatures()
        public = {(name, short(arguments)): rest for name, arguments, *rest in self.members() if "." not in name}
        self.assertEqual(sorted(found), sorted(public))
        for name, (result, after) in found.items():
            expected = public[name]
            self.assertEqual(result, short(expected[0]), name)
            self.assertTrue(plain(after).startswith(plain(expected[1])), f"{name}: {plain(after)}\n{plain(expected[1])}")

    def test_functions_that_are_not_to_be_called(self):
        named = set(re.findall(r"`(chatglm\.\w+)\(\)`", REFERENCE))
        self.assertEqual(named, {name for name, *_ in self.members() if "." in name})

    def test_no_function_is_named_that_is_not_there(self):
        there = {name for name, *_ in self.members()} | {row[0] for row in self.relations()}
        for path in PAGES:
            self.assertEqual(set(re.findall(r"\bglm_[a-z_]+(?=[^\w.]|$)", self.without_files(path))) - there - {"glm_user"}, set(), path)

    @staticmethod
    def without_files(path):
        """Pages on the sources name functions of C."""
        return "" if path == "docs/internals.md" else PAGES[path]

    def relations(self):
        return self.rows("""
            SELECT CASE WHEN n.nspname = 'chatglm' THEN 'chatglm.' ELSE '' END || relname, c.oid,
                   coalesce(obj_description(c.oid, 'pg_class'), obj_description(reltype, 'pg_type'))
              FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
              JOIN pg_depend d ON d.objid IN (c.oid, c.reltype) JOIN pg_extension e ON e.oid = d.refobjid
             WHERE relkind IN ('r', 'v', 'c') AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND extname = 'chatglm'
             GROUP BY n.nspname, relname, c.oid, reltype""")

    def test_columns(self):
        """Each relation's comment, then at once the table of its columns with theirs."""
        page = FENCED.sub("", REFERENCE)
        described = re.findall(r"((?:^(?![|#\n]).+\n)+)\n((?:^\|.*\n)+)", page, re.MULTILINE)
        described = {plain(head): table for head, table in described if table.startswith("| Column | Type | Is |")}
        there = self.relations()
        self.assertEqual(len(described), len(there))
        for name, oid, comment in there:
            with self.subTest(name):
                columns = self.rows("""SELECT attname, format_type(atttypid, atttypmod), col_description(attrelid, attnum)
                                         FROM pg_attribute WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped
                                        ORDER BY attnum""", oid)
                (_, *rows), = tables(described[plain(comment)])
                self.assertEqual([(code(column)[0], code(kind)[0], said.replace("`", "")) for column, kind, said in rows],
                                 [(column, short(kind), said) for column, kind, said in columns])

    def test_settings(self):
        expected = {}
        for name, unit, default, context, kind, least, most, choices in self.rows("""
                SELECT name, unit, boot_val, context, vartype, min_val, max_val, enumvals FROM pg_settings
                 WHERE name LIKE 'chatglm.%'"""):
            expected[name] = (default or "empty", CHANGED_BY[context], unit, kind, least, most, choices)
        rows = table_of("Setting")
        self.assertEqual(sorted(code(row[0])[0] for row in rows), sorted(expected))
        for setting, said_default, said_range, changed_by, _ in rows:
            default, context, unit, kind, least, most, choices = expected[code(setting)[0]]
            number = re.fullmatch(r"(\d+)(MB|GB)", said_default.strip("`"))
            said = str(int(number.group(1)) * UNITS[number.group(2)]) if number else said_default.strip("`")
            self.assertEqual((said, changed_by), (default, context), setting)
            if kind == "enum":
                self.assertEqual(sorted(code(said_range)), sorted(choices), setting)
            elif kind in ("integer", "real"):
                self.assertEqual(said_range, f"{least} to {most}" + (f" {unit}" if unit else ""), setting)

    def test_no_setting_is_named_that_is_not_there(self):
        there = {name for name, in self.rows("SELECT name FROM pg_settings WHERE name LIKE 'chatglm.%'")}
        there |= {row[0] for row in self.relations()} | {name for name, *_ in self.members()}
        files = {"chatglm.control", "chatglm.so", "chatglm.c", "chatglm.h", "chatglm.stat"}
        for path, page in PAGES.items():
            self.assertEqual(set(re.findall(r"\bchatglm\.[a-z_]+", page)) - there - files, set(), path)

    def test_keys_of_health(self):
        """The figures are said by the columns of glm_stat_worker."""
        said = {key for row in table_of("Keys") for key in code(row[0])} - {"glm_stat_worker", "up"}
        figures = {name for name, in self.rows("""SELECT attname FROM pg_attribute WHERE attrelid = 'glm_stat_worker'::regclass
                                                  AND attnum > 3""")}
        self.assertEqual(said | figures, {*health()})

    def assert_known(self, said, hint):
        """The keys of a table are those that an error's hint names."""
        named = re.fullmatch(r"(?:Known keys|Known options|Options) are (.*)\.", hint).group(1)
        self.assertEqual(sorted(said), sorted(re.split(r", | and ", named)))

    def hint_of(self, sql):
        with self.assertRaises(psycopg.Error) as caught:
            self.conn.execute(sql)
        return caught.exception.diag.message_hint

    def test_options(self):
        for said, sql in (("Options", "SELECT glm_generate('', options => '{\"?\": 1}')"),
                          ("Functions for models", "SELECT glm_model_load('docs', '/', '{\"?\": 1}')"),
                          ("Quantization", "SELECT glm_quantize('tiny-chatglm3', '/tmp/chatglm-docs', '{\"?\": 1}')")):
            with self.subTest(said):
                rows = next(rows for header, *rows in tables(section(said)) if header[0].startswith("Key"))
                self.assert_known([code(row[0])[0] for row in rows], self.hint_of(sql))

    def test_errors(self):
        """The codes that the sources raise, by their names in errcodes.h, and those of PostgreSQL's own that a caller meets."""
        headers = subprocess.check_output([PG_CONFIG, "--includedir-server"], text=True).strip()
        with open(f"{headers}/utils/errcodes.h") as header:
            codes = {name: "".join(re.findall(r"'(.)'", value))
                     for name, value in re.findall(r"#define (ERRCODE_\w+) MAKE_SQLSTATE\((.*)\)", header.read())}
        raised = set()
        for name in os.listdir(os.path.join(ROOT, "src/pg")):
            text = text_of(f"src/pg/{name}")
            raised |= {codes[code] for code in re.findall(r"(?:errcode\(|\] = )(ERRCODE_\w+)", text)}
            raised |= {"".join(re.findall(r"'(.)'", value)) for value in re.findall(r"CHATGLM_ERRCODE_\w+ MAKE_SQLSTATE\((.*)\)", text)}
        said = {state for row in table_of("SQLSTATE") for state in row[0].split(", ")}
        self.assertEqual(said, raised | {"22P05", "25006"})


if __name__ == "__main__":
    unittest.main()
