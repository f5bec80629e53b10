#!/bin/bash
# install-deps.sh - installs the Debian packages that building and testing need.
#
# Quick and silent when they are there.  Uses sudo when not root.  The server
# packages are those of the PostgreSQL that pg_config belongs to, or of
# PGVERSION, or 15.
set -eu

if ! command -v apt-get >/dev/null; then
	echo "install-deps.sh: no apt-get here; see README.md for what has to be installed" >&2
	exit 0
fi

pg_config=${PG_CONFIG:-pg_config}
version=${PGVERSION:-$("$pg_config" --version 2>/dev/null | sed -n 's/^PostgreSQL \([0-9]*\).*/\1/p')}
version=${version:-15}

packages=(
	gcc g++ make
	"postgresql-$version" "postgresql-server-dev-$version"
	libsentencepiece-dev libjansson-dev libssl-dev libopenblas0-pthread
	clang libclang-rt-14-dev
	libcmocka-dev "postgresql-$version-pgtap" libtap-parser-sourcehandler-pgtap-perl
	python3 python3-psycopg
)

missing=()
for package in "${packages[@]}"; do
	state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
	[ "$state" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

as_root=()
[ "$(id -u)" = 0 ] || as_root=(sudo)
echo "installing ${missing[*]}"
"${as_root[@]}" apt-get update -q
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
	apt-get install -q -y --no-install-recommends "${missing[@]}"
