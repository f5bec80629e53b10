#!/bin/bash
# install-deps.sh [PACKAGE...] - installs the Debian or Ubuntu packages that building
# and testing need, and these.
#
# Quick, silent and without a network when they are there.  No version is
# written down here; apt is asked what the distribution ships:
#
#     PostgreSQL  PGVERSION, else that of pg_config, else what the package
#                 `postgresql` depends on
#     fuzzing     the runtime of the clang that is installed, else of what the
#                 package `clang` depends on
#
# A PostgreSQL that no package has (one's own build, found by PG_CONFIG) is
# taken as it is.  Not root: sudo.
set -eu
also=("$@")
export LC_ALL=C					# apt answers in the user's language

die()
{
	echo "install-deps.sh: $*" >&2
	exit 1
}

if ! command -v apt-get >/dev/null; then
	echo "install-deps.sh: no apt-get here; see docs/operations.md for what has to be installed" >&2
	exit 0
fi

as_root=env
[ "$(id -u)" = 0 ] || as_root="sudo env"

# ---- Asking ----------------------------------------------------------------

installed()
{
	[ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# Is there a version that could be installed?
known()
{
	apt-cache policy "$1" 2>/dev/null | grep -q '^  Candidate: [^(]'
}

# $1 depends on $2 and a number: which?
depends()
{
	apt-cache depends "$1" 2>/dev/null | sed -n "s/^ *|\{0,1\}Depends: $2\([0-9][0-9]*\)\$/\1/p" | head -n 1
}

# PG_CONFIG's server was not built for a distribution.
own_postgres()
{
	[ -e "$("${PG_CONFIG:-pg_config}" --pgxs 2>/dev/null)" ] && ! known "postgresql-server-dev-$pg"
}

clang_has_runtime()
{
	compgen -G "$(clang -print-resource-dir 2>/dev/null)/lib/*/libclang_rt.fuzzer*" >/dev/null
}

# ---- What is needed --------------------------------------------------------

# Sets versions, and from them the packages that are not there.
look()
{
	local package packages

	pg=${PGVERSION:-$("${PG_CONFIG:-pg_config}" --version 2>/dev/null | sed -n 's/^PostgreSQL \([0-9]*\).*/\1/p')}
	pg=${pg:-$(depends postgresql postgresql-)}
	clang=$(clang -dumpversion 2>/dev/null | sed -n 's/^\([0-9]*\).*/\1/p')
	clang=${clang:-$(depends clang clang-)}

	packages=(
		gcc g++ make
		libsentencepiece-dev libjansson-dev libssl-dev zlib1g-dev libopenblas0-pthread
		clang libcmocka-dev libtap-parser-sourcehandler-pgtap-perl
		python3 python3-psycopg python3-jsonschema python3-rfc3987 python3-prometheus-client
		"${also[@]}"
	)
	own_postgres || packages+=("postgresql-$pg" "postgresql-server-dev-$pg" "postgresql-$pg-pgtap")
	clang_has_runtime || packages+=("libclang-rt-$clang-dev")

	missing=()
	for package in "${packages[@]}"; do
		installed "$package" || missing+=("$package")
	done
}

look
[ ${#missing[@]} -gt 0 ] || exit 0
[ "$as_root" = env ] || command -v sudo >/dev/null ||
	die "neither root nor sudo here, and these are missing: ${missing[*]}"

# Lists of packages may be old, or missing altogether.  That one source does
# not answer is no reason to stop.
$as_root apt-get update -q || echo "install-deps.sh: going on with the lists there are" >&2
look
[ -n "$pg" ] || die "apt knows no package postgresql; PGVERSION=NN names a version"

wanted=()
for package in "${missing[@]}"; do
	if known "$package"; then
		wanted+=("$package")
	elif [[ $package != libclang-rt-* ]]; then	# with old clangs it is part of what they depend on
		die "apt knows no package $package (Ubuntu has most of them in universe)"
	fi
done
[ ${#wanted[@]} -gt 0 ] || exit 0

echo "installing ${wanted[*]}"
$as_root DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${wanted[@]}"
