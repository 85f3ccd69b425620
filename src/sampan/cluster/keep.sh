#!/bin/sh
# A process of the cluster as the life of a container: its output is ours, its end is ours, and where it does not run we start
# it (unless told to watch only). Arguments: DIRECTORY NAME [watch]
#   NAME.pid      process id and start time      NAME.log   its output
#   NAME.command  how it is started, one line    NAME.lock  held while it is being started
cd "$1" || exit 1
name=$2

started() {
    # the 22nd field of stat; the second, in parentheses, may have spaces
    sed 's/^.*) //' "/proc/$1/stat" 2>/dev/null | cut -d ' ' -f 20
}

find_it() {
    read -r pid since <"$name.pid" 2>/dev/null && [ -n "$since" ] && [ "$(started "$pid")" = "$since" ]
}

exec 9>"$name.lock"
flock 9
lines=$(($(wc -l <"$name.log" 2>/dev/null || echo 0) + 1))
if find_it; then
    lines=1
elif [ "$3" = watch ]; then
    echo "$name is not running" >&2
    exit 1
else
    setsid sh -c "exec $(cat "$name.command")" >>"$name.log" 2>&1 </dev/null 9>&- &
    pid=$!
    echo "$pid $(started "$pid")" >"$name.pid"
fi
exec 9>&-
tail -n "+$lines" -f --pid="$pid" "$name.log" &
follower=$!
trap 'kill -TERM "$pid" 2>/dev/null' TERM
while ! wait "$follower" && kill -0 "$pid" 2>/dev/null; do :; done
# how it ended only its parent knows
exit 1
