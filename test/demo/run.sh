#!/bin/bash
# run.sh - the demonstration: `make demo`.
#
# Runs demo.sql in a database of its own in the private cluster, then streams
# two answers.  The little model is done before an eye has seen it begin, so
# the worker is told to take its time for these; the setting is put back even
# when the demonstration is interrupted.
set -eu
cd "$(dirname "$0")"

../cluster.sh start > /dev/null
eval "$(../cluster.sh env)"
export PGCLIENTENCODING=UTF8 PGDATABASE=postgres
psql=(psql -X -q -v ON_ERROR_STOP=1)

setting()
{
	"${psql[@]}" -At -c "ALTER SYSTEM $1" -c 'SELECT pg_reload_conf()' > /dev/null
}

# Tokens side by side, each as it comes: rows without separator, fetched one by one.
stream()
{
	printf '\n%s\n  > ' "$1"
	"${psql[@]}" -A -t -R '' -v FETCH_COUNT=1 -v prompt="$1" <<-'SQL'
		SELECT token FROM glm_stream(:'prompt');
	SQL
	echo
}

"${psql[@]}" -c 'DROP DATABASE IF EXISTS chatglm_demo' -c 'CREATE DATABASE chatglm_demo' 2> /dev/null
export PGDATABASE=chatglm_demo
"${psql[@]}" -c 'CREATE EXTENSION chatglm'
until [ "$("${psql[@]}" -At -c 'SELECT glm_ready()')" = t ]; do sleep 0.1; done

"${psql[@]}" -f demo.sql

echo
echo '-- Streaming: SELECT token FROM glm_stream(...), slowed down to be seen.'
trap 'setting "RESET chatglm.debug_step_delay"' EXIT
setting "SET chatglm.debug_step_delay = '80ms'"
stream 'Who are you?'
stream '你能做什么?'

echo
echo 'To look around:  test/cluster.sh psql chatglm_demo        To stop the cluster:  make cluster-stop'
