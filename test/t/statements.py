"""statements.py - random statements that ask the model, and the tables they are about.

Joins of every kind over tables with unique keys, sub-selects, aggregates, set
operations, CTEs, windows, cursors and DML, under random planner settings and
properties of functions.  A number makes a statement, always the same one.
"""
import random

SCHEMA = """
CREATE TABLE visit AS SELECT i AS id, 1 + i % 4 AS k, timestamp '2024-01-01' + i % 3 * interval '1 day' AS at,
       CASE WHEN i % 7 > 0 THEN i % 6 END AS n, CASE WHEN i % 9 > 0 THEN 'visit ' || repeat('again ', i % 4) || i END AS body
  FROM generate_series(1, 18) i;
ALTER TABLE visit ADD PRIMARY KEY (id);
CREATE TABLE cal (k int, at date, id int, n int, body text, PRIMARY KEY (k, at), UNIQUE (id));
INSERT INTO cal SELECT s, date '2024-01-01' + d, s * 3 + d, d, 'note ' || s + d FROM generate_series(1, 4) s, generate_series(0, 2) d;
CREATE TABLE tok (id bigint PRIMARY KEY, k int, n int UNIQUE, at timestamp, body text);
INSERT INTO tok SELECT i, i % 5, i, date '2024-01-01' + i % 7, 'token ' || i FROM generate_series(1, 12) i;
CREATE TABLE part (id int, k int, n int, at date, body text) PARTITION BY RANGE (id);
CREATE TABLE part_low PARTITION OF part FOR VALUES FROM (0) TO (6);
CREATE TABLE part_high PARTITION OF part FOR VALUES FROM (6) TO (1000);
INSERT INTO part SELECT i, i % 3, i % 4, date '2024-01-02', 'part ' || i FROM generate_series(1, 12) i;
CREATE INDEX ON part (id);
CREATE TABLE parent (id int, k int, n int, at timestamp, body text);
CREATE TABLE child () INHERITS (parent);
INSERT INTO parent SELECT i, i % 3, i, '2024-01-03', 'parent ' || i FROM generate_series(1, 5) i;
INSERT INTO child SELECT i, i % 3, i, '2024-01-03', 'child ' || i FROM generate_series(6, 9) i;
CREATE INDEX ON visit (k);
CREATE INDEX ON tok (k);
CREATE FUNCTION same(int) RETURNS int LANGUAGE plpgsql STABLE AS 'BEGIN RETURN $1; END';
CREATE FUNCTION same_time(timestamp) RETURNS timestamp LANGUAGE plpgsql STABLE AS 'BEGIN RETURN $1; END';
CREATE FUNCTION same_text(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN $1; END';
CREATE FUNCTION seen(int) RETURNS boolean LANGUAGE plpgsql VOLATILE AS
    'BEGIN RETURN (SELECT count(*) FROM visit WHERE n = $1) % 2 = 0; END';
CREATE FUNCTION counted(text) RETURNS int LANGUAGE sql AS 'SELECT glm_count_tokens($1)';
CREATE FUNCTION first_of(text) RETURNS int LANGUAGE sql AS 'SELECT glm_count_tokens($1 || body) FROM tok ORDER BY id';
CREATE FUNCTION looped(query text, wanted int) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE r record; n int := 0;
BEGIN
    FOR r IN EXECUTE query LOOP
        n := n + 1;
        EXIT WHEN n > wanted;
        RETURN NEXT r::text;
    END LOOP;
END $$;
ANALYZE;
"""

TABLES = ["visit", "cal", "tok", "part", "parent"]
SWITCHES = ["enable_hashjoin", "enable_mergejoin", "enable_nestloop", "enable_memoize", "enable_material", "enable_sort",
            "enable_hashagg", "enable_indexscan", "enable_indexonlyscan", "enable_bitmapscan", "enable_seqscan",
            "enable_incremental_sort", "enable_gathermerge", "enable_partitionwise_join",
            "enable_partitionwise_aggregate", "enable_tidscan"]


class Statement:
    """One random statement with the settings it runs under."""

    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.aliases = 0
        self.settings = self.random_settings()
        self.kind = self.pick(["query"] * 12 + ["cursor"] * 3 + ["loop", "prepared", "locking", "nearest", "nearest"] +
                              ["update", "update", "delete", "insert", "modifying", "merge"])
        self.writes = self.kind in ("update", "delete", "insert", "modifying", "merge")
        self.ordered = False
        self.sql = getattr(self, self.kind)()

    def pick(self, choices):
        return self.rng.choice(choices)

    def chance(self, probability):
        return self.rng.random() < probability

    def number(self, low, high):
        return self.rng.randint(low, high)

    def random_settings(self):
        """Planner settings, and the properties of functions that planners look at."""
        settings = [f"SET LOCAL {name} = off" for name in SWITCHES if self.chance(0.2)]
        settings += [f"SET LOCAL {name} = {self.pick([1, 8])}" for name in ("join_collapse_limit", "from_collapse_limit")
                     if self.chance(0.2)]
        if self.chance(0.25):
            settings += ["SET LOCAL parallel_setup_cost = 0", "SET LOCAL parallel_tuple_cost = 0",
                         "SET LOCAL min_parallel_table_scan_size = 0", "SET LOCAL min_parallel_index_scan_size = 0"]
        if self.chance(0.1):
            settings.append("SET LOCAL work_mem = '64kB'")
        settings += [f"ALTER FUNCTION {name} COST {self.pick([1, 50, 200, 1000, 10000])}"
                     for name in ("same", "same_time", "same_text", "seen", "glm_count_tokens", "glm_tokenize") if self.chance(0.2)]
        settings += [f"ALTER FUNCTION {name} {self.pick(['STABLE', 'IMMUTABLE'])}"
                     for name in ("glm_count_tokens", "glm_tokenize", "glm_detokenize") if self.chance(0.08)]
        return settings

    # ---- values ----

    def text(self, names):
        a, b = self.pick(names), self.pick(names)
        return self.pick([f"{a}.body"] * 3 + [f"{a}.body || {b}.body", f"'w ' || {a}.id", f"same_text({a}.body)",
                                              f"concat({a}.body, {b}.k)", f"CASE WHEN {a}.k > 1 THEN {b}.body END"])

    def count(self, names):
        """An int that is asked of the model."""
        text = self.text(names)
        return self.pick([f"glm_count_tokens({text})"] * 5 + [f"cardinality(glm_tokenize({text}))", f"counted({text})",
                         f"(glm_tokenize({text}))[2] % 5", f"CASE WHEN {self.pick(names)}.k = 1 THEN 3 ELSE glm_count_tokens({text}) END",
                         f"coalesce({self.pick(names)}.n, glm_count_tokens({text}))", f"same(glm_count_tokens({text}))",
                         f"glm_count_tokens(glm_detokenize(glm_tokenize({text})))"])

    def answer(self, names):
        """A text that is asked of the model."""
        text = self.text(names)
        return self.pick([f"glm_detokenize(glm_tokenize({text}))"] * 6 + [f"glm_generate({text}, max_tokens => 2)",
                         f"upper(glm_detokenize(glm_tokenize({text}))) || {self.pick(names)}.id",
                         f"(glm_try_generate({text}, max_tokens => 1)).response"])

    def plain(self, names):
        """A condition without calls, often an equality that a unique key proves to match once."""
        a, b = self.pick(names), self.pick(names)
        return self.pick([f"{a}.k = {b}.k", f"{a}.id = {b}.id", f"{a}.at = {b}.at", f"{a}.at = same_time({b}.at)",
                          f"{a}.id = same({b}.n)", f"{a}.n = {b}.k", f"{a}.n = same({b}.id::int)", f"{a}.id < {b}.id",
                          f"{a}.k % 2 = {b}.id % 2", f"{a}.n IS NOT NULL", f"same({a}.k) > 1", f"{a}.id <> {b}.n"])

    def asked(self, names):
        """A condition with a call."""
        a, count = self.pick(names), self.count(names)
        return self.pick([f"{count} > {self.number(0, 9)}"] * 5 + [f"{count} % 2 = {self.number(0, 1)}", f"{a}.n = {count}",
                         f"{a}.n = {count} - 3", f"{self.answer(names)} <> {a}.body", f"{count} = {self.count(names)}",
                         f"({count} > 4 OR {a}.k = 2)", f"NOT ({count} > 7)", f"{count} IN (4, 5, 6, 7)",
                         f"{count} BETWEEN 3 AND {self.number(4, 9)}"])

    def condition(self, names):
        return self.asked(names) if self.chance(0.4) else self.plain(names)

    def conditions(self, names, low, high):
        return " AND ".join(self.condition(names) for _ in range(self.number(low, high))) or "true"

    # ---- FROM ----

    def alias(self):
        self.aliases += 1
        return f"t{self.aliases}"

    def source(self, outer=()):
        """A table or sub-select with columns id, k, n, at, body; outer: what a LATERAL one may see."""
        alias = self.alias()
        table = self.pick(TABLES)
        if self.chance(0.7):
            return alias, f"{table} {alias}"
        if self.chance(0.1):
            return alias, f"(VALUES (1, 1, 2, date '2024-01-02', 'one'), (2, 3, NULL, NULL, NULL), (3, 3, 3, '2024-01-03', 'three')) {alias}(id, k, n, at, body)"
        if outer and self.chance(0.4):
            return alias, self.called(alias, outer)
        inner = self.alias()
        names = [inner, *outer]
        columns = f"{inner}.id, {inner}.k, {self.pick([f'{inner}.n', self.count([inner])])} AS n, {inner}.at, " \
            f"{self.pick([f'{inner}.body', self.answer([inner])])} AS body"
        tail = self.pick(["", " OFFSET 0", f" ORDER BY {inner}.id LIMIT {self.number(1, 9)}", f" ORDER BY {inner}.id",
                          f" ORDER BY {inner}.id DESC OFFSET {self.number(0, 5)}"])
        distinct = "DISTINCT " if self.chance(0.15) else ""
        where = f" WHERE {self.conditions(names, 1, 2)}" if self.chance(0.6) else ""
        return alias, f"{'LATERAL ' if outer else ''}(SELECT {distinct}{columns} FROM {table} {inner}{where}{tail}) {alias}"

    def called(self, alias, outer):
        """A FROM item that is one row for each row of another."""
        a = self.pick(outer)
        return self.pick([
            f"LATERAL (SELECT {a}.id, {a}.k, {self.count(outer)} AS n, {a}.at, {self.answer(outer)} AS body) {alias}",
            f"LATERAL (SELECT {a}.id, {a}.k, n, {a}.at, {a}.body FROM glm_count_tokens({self.text(outer)}) n) {alias}",
            f"LATERAL (SELECT {a}.id, {a}.k, {a}.n, {a}.at, response AS body FROM glm_try_generate({self.text(outer)}, max_tokens => 1)) {alias}"])

    def joined(self):
        """FROM items: their aliases and text."""
        name, sql = self.source()
        names = [name]
        for _ in range(self.pick([0, 0, 1, 1, 1, 1, 2])):
            kind = self.pick(["JOIN"] * 5 + ["LEFT JOIN"] * 2 + ["CROSS JOIN", "RIGHT JOIN", "FULL JOIN"])
            lateral = names if kind in ("JOIN", "LEFT JOIN", "CROSS JOIN") and self.chance(0.3) else ()
            name, item = self.source(lateral)
            if kind == "CROSS JOIN" and len(names) == 1:
                sql += f" CROSS JOIN {item}"
            elif kind == "FULL JOIN":
                sql += f" FULL JOIN {item} ON {names[-1]}.{self.pick(['id', 'k', 'n'])} = {name}.{self.pick(['id', 'k', 'n'])}"
            else:
                kind = "JOIN" if kind == "CROSS JOIN" else kind
                equal = self.pick(["{0}.k = {1}.k", "{0}.id = {1}.id", "{0}.at = {1}.at", "{0}.n = {1}.k", "{0}.at = same_time({1}.at)"])
                on = [equal.format(*self.rng.sample([names[-1], name], 2))] + \
                    [self.condition([names[-1], name]) for _ in range(self.number(0, 2))]
                self.rng.shuffle(on)
                sql += f" {kind} {item} ON {' AND '.join(on)}"
            names.append(name)
        return names, sql

    def subselect(self, names):
        """A condition with a sub-select."""
        outer = self.pick(names)
        alias = self.alias()
        table = self.pick(TABLES)
        where = self.conditions([alias, outer] if self.chance(0.6) else [alias], 1, 2)
        body = f"FROM {table} {alias} WHERE {where}"
        column = self.pick([f"{alias}.n", f"{alias}.k", self.count([alias])])
        return self.pick([f"EXISTS (SELECT {body})", f"NOT EXISTS (SELECT {body})", f"{outer}.n IN (SELECT {column} {body})",
                          f"{outer}.k NOT IN (SELECT {column} {body} AND {alias}.n IS NOT NULL)",
                          f"{outer}.k > ALL (SELECT {column} {body})", f"{outer}.n = ANY (SELECT {column} {body})",
                          f"{outer}.n < (SELECT max({column}) {body})", f"{self.count([outer])} IN (SELECT {column} {body})",
                          f"EXISTS (SELECT {body} LIMIT 1)",
                          f"{outer}.n <> (SELECT {column} {body} ORDER BY {alias}.id, 1 LIMIT 1)"])

    def from_where(self):
        names, sql = self.joined()
        conditions = [self.condition(names) for _ in range(self.number(0, 2))]
        if self.chance(0.35):
            conditions.append(self.subselect(names))
        if self.chance(0.06):
            conditions.append(f"seen({self.pick(names)}.k)")
        self.rng.shuffle(conditions)
        return names, f"FROM {sql}" + (f" WHERE {' AND '.join(conditions)}" if conditions else "")

    # ---- queries ----

    def columns(self, names):
        made = [f"{name}.id" for name in names]
        if self.chance(0.08):
            made += [f"(glm_try_generate({self.text(names)}, max_tokens => 1)).response", f"(glm_try_generate({self.text(names)}, max_tokens => 1)).error"]
        made += [self.pick([self.count, self.answer])(names) for _ in range(self.number(0, 2))]
        if self.chance(0.15):
            alias = self.alias()
            made.append(f"(SELECT sum({self.count([alias])}) FROM tok {alias} WHERE {self.condition([alias, self.pick(names)])})")
        if self.chance(0.08):
            made.append(f"first_of({self.text(names)})")
        return made

    def simple(self):
        names, rest = self.from_where()
        columns = self.columns(names)
        return columns, f"SELECT {self.pick(['', '', '', 'DISTINCT '])}{', '.join(columns)} {rest}"

    def limited(self, n_columns, sql):
        """A total order, and perhaps a part of it."""
        self.ordered = True
        sql += " ORDER BY " + ", ".join(str(i + 1) for i in range(n_columns))
        if self.chance(0.7):
            sql += f" LIMIT {self.number(0, 12)}"
        if self.chance(0.3):
            sql += f" OFFSET {self.number(0, 6)}"
        return sql

    def grouped(self):
        names, rest = self.from_where()
        a = self.pick(names)
        key = self.pick([f"{a}.k", f"{a}.n", self.count(names)])
        having = f" HAVING {self.pick([f'sum({self.count(names)}) > 9', f'glm_count_tokens(max({self.text(names)})) > 3', 'count(*) > 1'])}" \
            if self.chance(0.4) else ""
        return 3, f"SELECT {key} AS g, count(*), {self.pick([f'sum({self.count(names)})', f'string_agg({self.answer(names)}, $$,$$ ORDER BY {a}.id, {self.text(names)})', f'glm_count_tokens(min({self.text(names)}))', f'count(*) FILTER (WHERE {self.asked(names)})'])} " \
            f"{rest} GROUP BY 1{having}"

    def windowed(self):
        names, rest = self.from_where()
        a = self.pick(names)
        order = ", ".join(f"{name}.id" for name in names)
        over = self.pick([f"row_number() OVER (ORDER BY {order}, {a}.body)", f"rank() OVER (PARTITION BY {a}.k ORDER BY {order})",
                          f"count(*) OVER (ORDER BY {order})"])
        where = f" WHERE w.r <= {self.number(1, 4)}" if self.chance(0.6) else ""
        return 3, f"SELECT w.id, w.c, w.r FROM (SELECT {a}.id, {self.count(names)} AS c, {over} AS r {rest}) w{where}"

    def first_of_each(self):
        names, rest = self.from_where()
        a = self.pick(names)
        key = self.pick([f"{a}.k", f"{a}.n", self.count(names)])
        order = ", ".join(f"{name}.id" for name in names)
        return 3, f"SELECT g, id, w FROM (SELECT DISTINCT ON (g) * FROM (SELECT {key} AS g, {a}.id, {self.answer(names)} AS w, " \
            f"ROW({order}) AS o {rest}) s ORDER BY g, o, w) f"

    def sets(self):
        names, rest = self.from_where()
        a = self.pick(names)
        return 4, f"SELECT {a}.k AS c1, {a}.n AS c2, count(*), sum({self.count(names)}) {rest} " \
            f"GROUP BY {self.pick(['ROLLUP (1, 2)', 'CUBE (1, 2)', 'GROUPING SETS ((1), (2), ())'])}"

    def unnested(self):
        names, rest = self.from_where()
        a = self.pick(names)
        series = self.pick([f"unnest(glm_tokenize({self.text(names)}))", f"generate_series(1, {self.count(names)} % 3)"])
        return 3, f"SELECT {a}.id, {self.pick([self.count, self.answer])(names)}, {series} {rest}"

    def recursive(self):
        a = self.alias()
        return 2, f"WITH RECURSIVE r(i, n) AS (SELECT {a}.id::int, {self.count([a])} FROM tok {a} WHERE {self.condition([a])} UNION ALL " \
            f"SELECT r.i + 7, r.n + {self.count([a])} FROM r JOIN tok {a} ON {a}.id = r.i + 1 WHERE r.i < 30) SELECT i, n FROM r"

    def united(self):
        (left, one), (right, other) = (self.simple() for _ in range(2))
        kind = self.pick(["UNION", "UNION ALL", "UNION ALL", "EXCEPT", "INTERSECT"])
        n_columns = min(len(left), len(right))
        narrow = ", ".join(f"c{i + 1}::text" for i in range(n_columns))
        names = [", ".join(f"c{i + 1}" for i in range(len(columns))) for columns in (left, right)]
        return n_columns, f"SELECT {narrow} FROM ({one}) u({names[0]}) {kind} SELECT {narrow} FROM ({other}) v({names[1]})"

    def with_cte(self):
        columns, sql = self.simple()
        names = ", ".join(f"c{i + 1}" for i in range(len(columns)))
        materialized = self.pick(["", "MATERIALIZED ", "NOT MATERIALIZED "])
        query = self.pick([f"SELECT {names} FROM cte", "SELECT count(*), count(c1) FROM cte", "SELECT a.c1, b.c1 FROM cte a JOIN cte b USING (c1)",
                           f"SELECT {names} FROM cte WHERE EXISTS (SELECT FROM cte b WHERE b.c1 > cte.c1)"])
        width = {"SELECT count": 2, "SELECT a.c1,": 2}.get(query[:12], len(columns))
        return width, f"WITH cte({names}) AS {materialized}({sql}) {query}"

    def any_query(self):
        form = self.pick(["simple"] * 8 + ["grouped", "grouped", "windowed", "united", "with_cte", "first_of_each", "sets", "unnested", "recursive"])
        width, sql = getattr(self, form)()
        width = width if isinstance(width, int) else len(width)
        if self.chance(0.35):
            sql = self.limited(width, sql)
        return sql

    def query(self):
        return self.any_query()

    def cursor(self):
        """Rows in portions, forward and, where it can go, backward."""
        self.moves = [f"FETCH {self.number(0, 9)} FROM c" for _ in range(self.number(1, 4))]
        if self.chance(0.3):
            self.moves.append(f"FETCH BACKWARD {self.number(1, 5)} FROM c")
            self.moves.append(f"FETCH {self.number(1, 5)} FROM c")
        if self.chance(0.4):
            self.moves.append("FETCH ALL FROM c")
        width, sql = self.simple()
        if self.chance(0.8):
            sql = self.limited(len(width), sql)
        return sql

    def nearest(self):
        """A sort below, a join with one row for each row, a filter, and a LIMIT above it all."""
        self.ordered = True
        body = self.pick(["body", "glm_detokenize(glm_tokenize(body))", "concat(body, repeat(' x', k))"])
        inner = f"(SELECT id, k, n, at, {body} AS body FROM {self.pick(TABLES)} ORDER BY {self.pick(['k, id', 'n, id', 'id'])}{self.pick([' OFFSET 0', '', ' LIMIT 9'])})"
        sql = f"SELECT s.id, l.n FROM {inner} s JOIN {self.called('l', ['s'])} ON {self.pick(['true', 'l.n % 2 = 0', self.condition(['s', 'l'])])}"
        if self.chance(0.7):
            sql += f" WHERE {self.pick([self.condition(['s', 'l']), 'l.n % 3 > 0', 'same(s.id::int) % 2 = 0'])}"
        return sql + f" ORDER BY s.id, 2 LIMIT {self.number(1, 6)}" if " LIMIT 9" in sql or self.chance(0.2) else \
            f"SELECT count(*) FROM ({sql} LIMIT {self.number(1, 6)}) f"

    def loop(self):
        width, sql = self.simple()
        return f"SELECT * FROM looped($query${self.limited(len(width), sql)}$query$, {self.number(1, 30)})"

    def prepared(self):
        columns, sql = self.simple()
        self.ordered = True
        order = ", ".join(str(i + 1) for i in range(len(columns)))
        self.settings.append(f"SET LOCAL plan_cache_mode = {self.pick(['force_generic_plan', 'force_custom_plan'])}")
        return f"PREPARE p(int) AS {sql} ORDER BY {order} LIMIT $1 OFFSET $1 / 3; EXECUTE p({self.number(0, 9)})"

    def locking(self):
        names, rest = self.from_where()
        self.writes = True
        if any(word in rest for word in ("FULL", "LEFT", "RIGHT", "DISTINCT", "VALUES")):
            return f"SELECT id, {self.count(['tok'])} FROM tok FOR UPDATE"
        return f"SELECT {', '.join(self.columns(names))} {rest} FOR {self.pick(['UPDATE', 'SHARE', 'UPDATE SKIP LOCKED'])}"

    # ---- statements that write ----

    def merge(self):
        name, item = self.source()
        target = self.pick(["visit", "tok", "parent"])
        matched = self.pick([f"UPDATE SET body = {self.answer(['x', name])}", "DELETE", f"UPDATE SET body = {name}.body"])
        return f"MERGE INTO {target} x USING {item} ON {self.pick(['x.id = {0}.id', 'x.id = {0}.n', 'x.id = same({0}.n)']).format(name)} " \
            f"AND {self.condition(['x', name])} WHEN MATCHED AND {self.condition(['x', name])} THEN {matched} " \
            f"WHEN NOT MATCHED THEN INSERT (id, k, body) VALUES ({name}.id + 100, {self.count([name])}, {self.answer([name])})"

    def update(self):
        target = self.pick(TABLES)
        assignment = self.pick(["body = {answer}", "body = {answer}, at = x.at", "body = {answer} || 'x'", "at = x.at, body = same_text({answer})"])
        names, source = ["x"], ""
        if self.chance(0.6):
            name, item = self.source()
            names, source = ["x", name], f" FROM {item}"
        if not source and self.chance(0.15):
            assignment = "(body, at) = (SELECT {answer}, x.at)"
        sql = f"UPDATE {target} x SET {assignment.format(answer=self.answer(['x']))}{source} WHERE {self.conditions(names, 1, 3)}"
        if self.chance(0.1):
            sql += " AND seen(x.k)"
        return sql + self.pick(["", " RETURNING x.id", f" RETURNING x.id, {self.count(['x'])}"])

    def delete(self):
        target = self.pick(TABLES)
        names, source = ["x"], ""
        if self.chance(0.6):
            name, item = self.source()
            names, source = ["x", name], f" USING {item}"
        sql = f"DELETE FROM {target} x{source} WHERE {self.conditions(names, 1, 3)}"
        return sql + self.pick(["", " RETURNING x.id", f" RETURNING {self.answer(['x'])}"])

    def insert(self):
        names, rest = self.from_where()
        a = self.pick(names)
        target = self.pick(["visit", "tok", "part"])
        sql = f"INSERT INTO {target} (id, k, body) SELECT {a}.id + {self.pick([0, 100])}, {self.count(names)}, {self.answer(names)} {rest}"
        return sql + self.pick(["", " ORDER BY 1, 2, 3"]) + " ON CONFLICT DO NOTHING" + self.pick(["", " RETURNING id, k"])

    def modifying(self):
        inner = self.pick([self.update, self.delete])().split(" RETURNING ")[0] + " RETURNING x.id, x.k"
        return f"WITH w AS ({inner}) SELECT w.id, {self.pick(['w.k', 'glm_count_tokens($$w$$ || w.k)'])} FROM w" + \
            self.pick(["", " ORDER BY 1, 2", " ORDER BY 1, 2 LIMIT 2"])
