#!/bin/bash
# install.sh - installs what the drivers' examples need: Debian's or Ubuntu's packages.
#
# Quick and silent when they are there.  Where another Node.js than the
# distribution's is installed, apt refuses node-pg, which depends on its own;
# the package is plain JavaScript, so it is unpacked into build/examples/node.
set -eu
export LC_ALL=C
cd "$(dirname "$0")/../.."

as_root=env
[ "$(id -u)" = 0 ] || as_root="sudo env"
packages=(python3-psycopg python3-psycopg2 python3-asyncpg python3-django libpostgresql-jdbc-java pgbouncer)
command -v javac >/dev/null || packages+=(default-jdk-headless)
command -v node >/dev/null || packages+=(nodejs)
node_packages=(node-pg node-readable-stream node-split2 node-xtend)
unpacked=build/examples/node

missing()
{
	local package

	for package in "$@"; do
		[ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || echo "$package"
	done
}

unpack()
{
	local folder

	folder=$(mktemp -d)
	(cd "$folder" && apt-get download -q "$@")
	mkdir -p "$unpacked"
	for package in "$folder"/*.deb; do
		dpkg-deb -x "$package" "$unpacked"
	done
	rm -r "$folder"
}

command -v apt-get >/dev/null || { echo "install.sh: no apt-get here; needed are ${packages[*]} node-pg" >&2; exit 0; }
mapfile -t wanted < <(missing "${packages[@]}")
if [ ${#wanted[@]} -gt 0 ]; then
	$as_root apt-get update -q || echo "install.sh: going on with the lists there are" >&2
	$as_root DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${wanted[@]}"
fi
if [ -n "$(missing node-pg)" ] && [ ! -d "$unpacked/usr/share/nodejs/pg" ]; then
	$as_root DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends node-pg ||
		unpack "${node_packages[@]}"
fi
