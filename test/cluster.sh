#!/bin/bash
# cluster.sh - the private PostgreSQL cluster that demo and tests run in.
#
#     cluster.sh start | stop | restart | reload | psql [ARGUMENT...] | env | use
#
# `start` may be called at any time: it makes the cluster when there is none,
# starts it when it is down, restarts it when what `make install` put in place
# has changed since, and otherwise does nothing.  `env` prints exports of
# PGHOST, PGPORT, PGUSER and PGDATABASE, to be used with eval.  `use` does both,
# unless the caller names a server of his own by PGHOST, PGPORT or PGSERVICE.
#
# Where things lie.  The server may run as another user than ours (root may
# not run it; postgres does then) and that user need not be able to read this
# checkout; besides, a socket's path ends at 107 bytes.  So data, socket and
# log live in a directory made by mktemp, which .cluster/base points at:
#
#     base/data          the data directory
#     base/log           what the server says
#     base/cluster.conf  settings, written anew at every start
#     base/stamp         checksum of what was installed when it was started
#     base/home          the checkout it belongs to
#
# It belongs to the server's user and is closed to everybody else (root goes
# through), which is why a socket in it can do without passwords.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd -P)
link=$root/.cluster/base
port=5432
pg_config=${PG_CONFIG:-pg_config}

die()
{
	echo "cluster.sh: $*" >&2
	exit 1
}

command -v "$pg_config" >/dev/null || die "no pg_config here; 'make deps' installs PostgreSQL"
bin=$("$pg_config" --bindir)
version=$("$pg_config" --version | sed 's/^PostgreSQL \([0-9]*\).*/\1/')

if [ "$(id -u)" = 0 ]; then
	owner=postgres
else
	owner=$(id -un)
fi

# Runs a command as the server's user, away from a directory it cannot enter
# and without the caller's PG* settings.
as_owner()
{
	local clean=(env -u PGHOST -u PGPORT -u PGUSER -u PGDATABASE -u PGDATA -u PGOPTIONS)

	if [ "$(id -un)" = "$owner" ]; then
		(cd / && exec "${clean[@]}" "$@")
	else
		(cd / && exec runuser -u "$owner" -- "${clean[@]}" "$@")
	fi
}

# ---- Where the cluster is ------------------------------------------------

# Sets $base to the existing directory, or fails.
find_base()
{
	base=$(readlink "$link" 2>/dev/null) || return 1
	[ -d "$base" ] && [ "$(stat -c %U "$base")" = "$owner" ] &&
		[ "$(cat "$base/home" 2>/dev/null)" = "$root" ]
}

make_base()
{
	local parent

	for parent in "${TMPDIR:-/tmp}" /tmp; do
		# the socket's name and mktemp's take 40 bytes; the owner must get there
		[ ${#parent} -le 60 ] && as_owner test -x "$parent" && break
	done
	base=$(mktemp -d "$parent/chatglm-XXXXXX")
	chmod 0700 "$base"
	echo "$root" > "$base/home"
	mkdir -p "$root/.cluster"
	ln -sfn "$base" "$link"
	ln -sfn "$base/log" "$root/.cluster/log"
	chown -R "$owner" "$base"
}

# ---- What it is made of --------------------------------------------------

# Of everything that a running server may have read.
stamp()
{
	local share

	share=$("$pg_config" --sharedir)/extension
	find "$root/test/cluster.sh" "$("$pg_config" --pkglibdir)/chatglm.so" "$share"/chatglm* -type f -print0 2>/dev/null |
		sort -z | xargs -0 sha256sum | sha256sum | cut -d ' ' -f 1
}

make_data()
{
	rm -rf "$base/data"
	as_owner "$bin/initdb" --pgdata="$base/data" --username=postgres --auth=trust \
		--encoding=UTF8 --locale=C.UTF-8 --no-sync > "$base/initdb.log" 2>&1 ||
		{ cat "$base/initdb.log" >&2; die "initdb failed"; }
	echo "include '$base/cluster.conf'" | as_owner tee -a "$base/data/postgresql.conf" > /dev/null
	as_owner tee "$base/data/pg_hba.conf" > /dev/null <<-HBA
		local all         all trust
		local replication all trust
	HBA
}

make_conf()
{
	as_owner tee "$base/cluster.conf" > /dev/null <<-CONF
		listen_addresses = ''
		port = $port
		unix_socket_directories = '$base'
		unix_socket_permissions = 0777
		shared_preload_libraries = 'chatglm'
		max_connections = 200
		fsync = off
		log_line_prefix = '%m [%p] %q%u@%d '
		timezone = 'UTC'
	CONF
}

# ---- Start and stop ------------------------------------------------------

# Every process of a cluster has its data directory as working directory.
processes()
{
	as_owner find /proc -maxdepth 2 -path '/proc/[0-9]*/cwd' -lname "$base/data" 2>/dev/null |
		cut -d / -f 3
}

running()
{
	local pid

	pid=$(head -n 1 "$base/data/postmaster.pid" 2>/dev/null) || return 1
	processes | grep -qx "$pid"
}

# Clears away what a killed server left: children that have not noticed yet, and
# lock files naming a process that is a zombie or somebody else's by now, beside
# which a new server would refuse to start.
clear_remains()
{
	local try

	for try in $(seq 50); do
		[ -n "$(processes)" ] || break
		[ "$try" -lt 30 ] || processes | xargs -r kill -9 2>/dev/null || true
		sleep 0.1
	done
	rm -f "$base/data/postmaster.pid" "$base/.s.PGSQL.$port.lock"
}

stop()
{
	running || return 0
	as_owner "$bin/pg_ctl" stop --pgdata="$base/data" --mode=fast --silent ||
		as_owner "$bin/pg_ctl" stop --pgdata="$base/data" --mode=immediate --silent
}

sql()
{
	as_owner "$bin/psql" -XAtq -v ON_ERROR_STOP=1 -h "$base" -p "$port" -U postgres postgres "$@"
}

# The extension as it is installed now, with its functions at PGDATABASE.
make_extension()
{
	sql -c 'SET client_min_messages = error' -c 'DROP EXTENSION IF EXISTS chatglm CASCADE' \
		-c 'DROP SCHEMA IF EXISTS chatglm CASCADE' -c 'CREATE EXTENSION chatglm'
}

# The server must not keep our lock's descriptor, nor a caller's pipe.
start_server()
{
	as_owner "$bin/pg_ctl" start --pgdata="$base/data" --log="$base/log" --silent \
		--timeout=60 < /dev/null > /dev/null 2>&1 9>&- && return 0
	tail -n 20 "$base/log" >&2
	die "the server does not start; its log is $base/log"
}

start()
{
	local installed

	[ -e "$("$pg_config" --pkglibdir)/chatglm.so" ] || die "chatglm is not installed: make install"
	installed=$(stamp)
	find_base || make_base
	[ "$(cat "$base/data/PG_VERSION" 2>/dev/null)" = "$version" ] || { stop; make_data; }
	[ "$(cat "$base/stamp" 2>/dev/null)" = "$installed" ] || stop
	running && return 0

	clear_remains
	make_conf
	start_server
	if [ "$(cat "$base/stamp" 2>/dev/null)" != "$installed" ]; then
		make_extension
		echo "$installed" | as_owner tee "$base/stamp" > /dev/null
	fi
}

print_env()
{
	cat <<-ENV
		unset PGHOSTADDR PGSERVICE PGPASSWORD PGOPTIONS
		export PGHOST='$base'
		export PGPORT='$port'
		export PGUSER='postgres'
		export PGDATABASE='postgres'
	ENV
}

# Is the server that the caller names another one?  One named by what `env`
# printed is ours, and perhaps down.
names_another()
{
	[ -n "${PGHOST:-}${PGHOSTADDR:-}${PGPORT:-}${PGSERVICE:-}" ] || return 1
	! find_base || [ "${PGHOST:-}" != "$base" ]
}

need_base()
{
	find_base || die "there is no cluster yet: make cluster"
}

# Two makes at once must not both make one.
lock()
{
	mkdir -p "$root/.cluster"
	exec 9> "$root/.cluster/lock"
	flock 9
}

command=${1:-}
[ $# -eq 0 ] || shift
case $command in
	start)
		lock
		start
		echo "The cluster is up.  To connect:  make psql   or   eval \"\$(test/cluster.sh env)\" && psql"
		;;
	stop)
		lock
		if find_base; then stop; fi
		;;
	restart)
		lock
		need_base
		stop
		start
		;;
	reload)
		need_base
		as_owner "$bin/pg_ctl" reload --pgdata="$base/data" --silent
		;;
	psql)
		need_base
		eval "$(print_env)"
		exec "$bin/psql" "$@"
		;;
	env)
		need_base
		print_env
		;;
	use)
		names_another && exit 0
		lock
		start
		print_env
		;;
	*)
		die "usage: cluster.sh start | stop | restart | reload | psql [ARGUMENT...] | env | use"
		;;
esac
