"""Building and installing: whose flags are used, outside the source tree, which packages are asked for, in which server the
suites run.

What was compiled already is copied, so that no test compiles more than two files.
"""
import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

from harness import ROOT

ENGINE = "build/engine/base/error.o"
KERNEL = "build/engine/compute/kernels/scalar.o"
WRAPPER = "build/engine/text/spm.o"
SERVER_SIDE = "build/pg/chatglm.o"
NVCC = shutil.which("nvcc") or os.path.exists("/usr/local/cuda/bin/nvcc")
OBJECTS = (ENGINE, KERNEL, WRAPPER, SERVER_SIDE)


def environment(**extra):
    """Ours without what a make above us, its caller or a CI machine put in."""
    dropped = ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "GNUMAKEFLAGS", "CFLAGS", "CXXFLAGS", "CPPFLAGS", "LDFLAGS", "COPT",
               "PROFILE", "WERROR", "CI", "T", "VPATH", "DESTDIR", "PGVERSION")
    return {**{key: value for key, value in os.environ.items() if key not in dropped}, **extra}


def run(*command, cwd=ROOT, **env):
    return subprocess.run(command, cwd=cwd, env=environment(**env), text=True, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)


def made(done):
    if done.returncode != 0:
        raise AssertionError(done.stdout)
    return done.stdout


class Flags(unittest.TestCase):
    """Compile lines that make would run."""

    def lines(self, *arguments, **env):
        """The line of each object, and of the shared library; arguments in the order they have there."""
        text = made(run("make", "-n", "-B", *arguments, "chatglm.so", **env))
        lines = {}
        for line in text.splitlines():
            for name in (*OBJECTS, "chatglm.so"):
                if f" -o {name} " in line + " ":
                    lines[name] = line.split()
        self.assertEqual(set(lines), {*OBJECTS, "chatglm.so"})
        return lines

    def test_flags_of_the_environment_reach_both_halves(self):
        lines = self.lines(CFLAGS="-fstack-protector-all -O1", CXXFLAGS="-fstack-protector-all", CPPFLAGS="-DFORTIFIED=2",
                           LDFLAGS="-Wl,-z,defs")
        for name in OBJECTS:
            self.assertIn("-fstack-protector-all", lines[name], name)
            self.assertIn("-DFORTIFIED=2", lines[name], name)
        self.assertIn("-Wl,-z,defs", lines["chatglm.so"])

    def test_so_do_those_of_the_command_line(self):
        lines = self.lines("CFLAGS=-fstack-protector-all", "CXXFLAGS=-fstack-protector-all", "CPPFLAGS=-DFORTIFIED=2",
                           "LDFLAGS=-Wl,-z,defs")
        for name in OBJECTS:
            self.assertIn("-fstack-protector-all", lines[name], name)
            self.assertIn("-DFORTIFIED=2", lines[name], name)
        self.assertIn("-Wl,-z,defs", lines["chatglm.so"])
        self.assertIn("-fno-strict-aliasing", lines[SERVER_SIDE])

    def test_they_come_before_what_the_engine_cannot_do_without(self):
        for given in ({"args": ["CFLAGS=-O1 -std=gnu99 -march=native"]}, {"CFLAGS": "-O1 -std=gnu99 -march=native"}):
            line = self.lines(*given.pop("args", []), **given)[ENGINE]
            self.assertLess(line.index("-O2"), line.index("-O1"))
            self.assertLess(line.index("-std=gnu99"), line.index("-std=c11"))
            self.assertLess(line.index("-march=native"), line.index("-ffp-contract=off"))
            self.assertIn("-fPIC", line)

    def test_less_optimisation_is_less_everywhere(self):
        self.assertIn("-O3", self.lines()[KERNEL])
        self.assertIn("-O3", self.lines(CFLAGS="-g -O2")[KERNEL])
        self.assertNotIn("-O3", self.lines(CFLAGS="-g -O0")[KERNEL])

    def test_nothing_that_changes_answers_is_taken(self):
        bad = ["-ffast-math", "-Ofast", "-ffp-contract=fast", "-fassociative-math", "-mfpmath=387", "-freciprocal-math"]
        flags = " ".join(bad)
        for given in ([f"CFLAGS={flags}", f"CXXFLAGS={flags}", f"LDFLAGS={flags}"], [f"COPT={flags}"]):
            for name, line in self.lines(*given).items():
                self.assertEqual(set(bad) & set(line), set(), name)
        for name, line in self.lines(CFLAGS=flags, CXXFLAGS=flags, LDFLAGS=flags, COPT=flags).items():
            self.assertEqual(set(bad) & set(line), set(), name)
        self.assertIn("left out, as answers would differ: -Ofast -fassociative-math",
                      made(run("make", "-n", f"CFLAGS={flags}")))

    def test_no_bitcode_which_would_need_clang(self):
        self.assertNotRegex(made(run("make", "-n", "-B", "all", "install", "DESTDIR=/nowhere")), r"\.bc\b|clang")

    def test_warnings_are_errors_only_when_asked(self):
        for name, line in self.lines().items():
            self.assertNotIn("-Werror", line, name)
        for name in OBJECTS:
            self.assertIn("-Werror", self.lines(CI="true")[name])
            self.assertIn("-Werror", self.lines("WERROR=-Werror")[name])
            self.assertNotIn("-Werror", self.lines("WERROR=", CI="true")[name])
            self.assertNotIn("-Werror", self.lines(CI="false")[name])


class OutOfTree(unittest.TestCase):
    """In a folder of its own, as Debian's pg_buildext does."""

    def setUp(self):
        self.place = pathlib.Path(tempfile.mkdtemp(prefix="chatglm-build-"))
        self.addCleanup(shutil.rmtree, self.place)

    def make(self, *arguments, vpath=ROOT):
        given = [f"VPATH={vpath}"] if vpath else []
        return run("make", "-f", f"{vpath or ROOT}/Makefile", *given, *arguments, cwd=self.place)

    def borrow(self):
        """What the source tree has compiled, with its times; the two that were made here stay."""
        built = pathlib.Path(ROOT, "build")
        for path in (*built.rglob("*.o"), *built.glob("cuda/*.fatbin")):
            name = path.relative_to(ROOT)
            if name.parts[1] in ("engine", "pg", "cuda") and not (self.place / name).exists():
                (self.place / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, self.place / name)

    def installed(self):
        top = self.place / "to"
        return sorted(str(path.relative_to(top)) for path in top.rglob("*") if path.is_file())

    def wanted(self):
        share = [made(run(os.environ.get("PG_CONFIG", "pg_config"), f"--{what}")).strip().lstrip("/")
                 for what in ("sharedir", "pkglibdir", "docdir")]
        models = [f"{share[0]}/extension/chatglm/models/tiny-chatglm3/{name}"
                  for name in os.listdir(f"{ROOT}/models/tiny-chatglm3")]
        scripts = [f"{share[0]}/extension/{path.name}" for path in pathlib.Path(ROOT).glob("chatglm*--*.sql")]
        pages = ["README.md", "CHANGELOG.md", "test/bench/RESULTS.md", "test/bench/forward.svg", "test/model/README.md",
                 "cuda/README.md", *(f"docs/{name}" for name in os.listdir(f"{ROOT}/docs"))]
        libraries = ["chatglm.so", *(["chatglm_cuda.so"] if NVCC else [])]
        return sorted([f"{share[0]}/extension/chatglm.control", f"{share[0]}/extension/chatglm_tap.control", *(f"{share[1]}/{name}" for name in libraries),
                       *(f"{share[2]}/extension/chatglm/{name}" for name in pages), *models, *scripts])

    def check_links(self):
        """Those of installed pages lead to installed files."""
        for page in (self.place / "to").rglob("*.md"):
            for target in re.findall(r"\]\(([^)#\s:]+)[)#]", page.read_text()):
                self.assertTrue((page.parent / target).is_file(), f"{page.name}: {target}")

    def test_builds_and_installs_all(self):
        made(self.make("-j2", ENGINE, SERVER_SIDE))
        self.borrow()
        made(self.make("-j2", "install", f"DESTDIR={self.place}/to"))
        self.assertEqual(self.installed(), self.wanted())
        self.check_links()
        made(self.make("uninstall", f"DESTDIR={self.place}/to"))
        self.assertEqual(self.installed(), [])

    def test_takes_nothing_that_was_built_in_the_source_tree(self):
        lines = made(self.make("-n", "all"))
        for name in OBJECTS:
            self.assertIn(f" -o {name} {ROOT}/src/", lines)
        self.assertEqual(made(self.make("-n", "all", vpath=None)).count(" -c -o "), lines.count(" -c -o "))

    def test_takes_the_tests_from_there(self):
        line = made(self.make("-n", "installcheck"))
        self.assertIn(f"--inputdir={ROOT} ", line)
        for path in pathlib.Path(ROOT, "sql").glob("*.sql"):
            self.assertIn(f" {path.stem}", line)

    def test_fails_when_something_is_missing(self):
        for arguments in (["VPATH=/nowhere"], ["unit"], ["PG_CONFIG=/nowhere/pg_config", "all"],
                          ["PG_CONFIG=/nowhere/pg_config", "install"]):
            self.assertNotEqual(self.make(*arguments, vpath=None).returncode, 0, arguments)


class Meta(unittest.TestCase):
    """META.json, which PGXN reads, says what is there."""

    def test_it_agrees_with_the_extension(self):
        meta = json.loads(pathlib.Path(ROOT, "META.json").read_text())
        control = pathlib.Path(ROOT, "chatglm.control").read_text()
        version = re.search(r"default_version = '([0-9.]+)'", control).group(1)
        self.assertEqual(meta["version"], version + ".0")
        self.assertIn(f"comment = '{meta['abstract']}'", control)
        provided = meta["provides"]["chatglm"]
        self.assertEqual(provided["version"], meta["version"])
        self.assertEqual(provided["file"], f"chatglm--{version}.sql")
        for key in ("file", "docfile"):
            self.assertTrue(pathlib.Path(ROOT, provided[key]).is_file(), key)
        self.assertTrue(provided["abstract"])
        self.assertIn(meta["release_status"], ("stable", "testing", "unstable"))
        self.assertEqual(meta["prereqs"]["runtime"]["requires"]["PostgreSQL"], "13.0.0")


class Server(unittest.TestCase):
    """In which server installcheck and pgtap run."""

    def use(self, **names):
        env = environment()
        for name in ("PGHOST", "PGHOSTADDR", "PGPORT", "PGSERVICE"):
            env.pop(name, None)
        return made(subprocess.run([f"{ROOT}/test/cluster.sh", "use"], env={**env, **names}, text=True,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False))

    def test_the_callers_if_he_names_one(self):
        self.assertEqual(self.use(PGHOST="elsewhere"), "")
        self.assertEqual(self.use(PGPORT="5499"), "")
        self.assertEqual(self.use(PGSERVICE="theirs"), "")

    def test_else_the_private_one(self):
        ours = f"export PGHOST='{os.environ['PGHOST']}'"
        self.assertIn(ours, self.use())
        self.assertIn(ours, self.use(PGHOST=os.environ["PGHOST"], PGPORT="5432"))


# What apt says in a distribution: packages of which there is a version, and what two of them depend on.
COMMON = ("gcc g++ make libsentencepiece-dev libjansson-dev libssl-dev zlib1g-dev libopenblas0-pthread clang postgresql libcmocka-dev "
          "libtap-parser-sourcehandler-pgtap-perl python3 python3-psycopg "
          "python3-jsonschema python3-rfc3987 python3-prometheus-client").split()


def packages(postgres, clang, runtime=True):
    return [*COMMON, f"postgresql-{postgres}", f"postgresql-server-dev-{postgres}", f"postgresql-{postgres}-pgtap",
            *([f"libclang-rt-{clang}-dev"] if runtime else [])]


class Packages(unittest.TestCase):
    """install-deps.sh beside an apt that is made up: it answers from files and writes down what it is asked to install."""

    def setUp(self):
        self.place = pathlib.Path(tempfile.mkdtemp(prefix="chatglm-apt-"))
        self.addCleanup(shutil.rmtree, self.place)
        self.command("dpkg-query", 'for last; do :; done; grep -qx "$last" installed 2>/dev/null && echo -n installed')
        self.command("apt-get", '''
            echo "$@" >>calls
            [ "$1" != update ] || cp -r offered/. lists''')
        self.command("apt-cache", '''
            case $1 in
                policy) grep -qx "$2" lists/names 2>/dev/null && printf '%s:\\n  Candidate: 1\\n' "$2" ;;
                depends) cat "lists/$2" 2>/dev/null ;;
            esac | if [ "$LC_ALL" = C ]; then cat; else sed 's/Depends:/Hängt ab von:/; s/Candidate:/Kandidat:/'; fi''')
        self.command("clang", "exit 127")
        self.command("sudo", '"$@"')
        (self.place / "lists").mkdir()
        (self.place / "offered").mkdir()

    def command(self, name, script):
        path = self.place / name
        path.write_text(f"#!/bin/bash\ncd {self.place}\n{script}\n")
        path.chmod(0o755)

    def offer(self, names, postgres, clang):
        (self.place / "offered/names").write_text("\n".join(names) + "\n")
        (self.place / "offered/postgresql").write_text(f"postgresql\n  Depends: postgresql-{postgres}\n  Suggests: postgresql-doc\n")
        (self.place / "offered/clang").write_text(f"clang\n  Depends: clang-{clang}\n  Breaks: <clang-3.2>\n")

    def deps(self, **env):
        names = {"PG_CONFIG": "/nowhere/pg_config", "LC_ALL": "", **env}
        return run(f"{ROOT}/test/install-deps.sh", PATH=f"{self.place}:{os.environ['PATH']}", **names)

    def asked(self):
        calls = (self.place / "calls").read_text().splitlines() if (self.place / "calls").exists() else []
        installs = [call.split() for call in calls if " install " in f" {call} "]
        return sorted(word for call in installs for word in call if not word.startswith("-") and word != "install")

    def test_each_distribution_gets_its_own(self):
        for postgres, clang, runtime in ((15, 14, True), (17, 19, True), (16, 18, True), (14, 14, False)):
            with self.subTest(postgres=postgres):
                (self.place / "calls").unlink(missing_ok=True)
                self.offer(packages(postgres, clang, runtime), postgres, clang)
                made(self.deps())
                self.assertEqual(self.asked(), sorted(set(packages(postgres, clang, runtime)) - {"postgresql"}))

    def test_a_version_may_be_named(self):
        self.offer(packages(15, 14) + packages(18, 14), 15, 14)
        made(self.deps(PGVERSION="18"))
        self.assertIn("postgresql-18-pgtap", self.asked())
        self.assertNotIn("postgresql-15", self.asked())

    def test_that_of_pg_config_goes_before_the_distributions(self):
        self.offer(packages(15, 14) + packages(18, 14), 15, 14)
        self.command("pg_config", 'echo "PostgreSQL 18.1 (Debian 18.1-1)"')
        made(self.deps(PG_CONFIG="pg_config"))
        self.assertIn("postgresql-server-dev-18", self.asked())

    def test_ones_own_postgresql_is_taken_as_it_is(self):
        self.offer(packages(15, 14), 15, 14)
        self.command("pg_config", 'case $1 in --version) echo "PostgreSQL 19devel" ;; --pgxs) echo /etc/passwd ;; esac')
        made(self.deps(PG_CONFIG="pg_config"))
        self.assertEqual([name for name in self.asked() if name.startswith("postgresql")], [])
        self.assertIn("libcmocka-dev", self.asked())

    def test_quick_when_all_is_there(self):
        (self.place / "installed").write_text("\n".join(packages(15, 14)) + "\n")
        shutil.copytree(self.place / "offered", self.place / "lists", dirs_exist_ok=True)
        self.offer(packages(15, 14), 15, 14)
        shutil.copytree(self.place / "offered", self.place / "lists", dirs_exist_ok=True)
        self.assertEqual(made(self.deps()), "")
        self.assertFalse((self.place / "calls").exists())

    def test_says_what_apt_does_not_know(self):
        self.offer([name for name in packages(15, 14) if name != "python3-psycopg"], 15, 14)
        done = self.deps()
        self.assertEqual(done.returncode, 1)
        self.assertIn("apt knows no package python3-psycopg", done.stdout)
