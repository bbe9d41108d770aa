# Runs a database server that must not outlive its owner, not even one that is killed with -9.
#
# The owner holds the other end of our standard input and sends one line when the server may start. When that pipe
# closes, because the owner stopped or died, the server is ended. Standard output, if it is a file, is the data folder's
# lock: it stays open here and in the server, so the folder is free exactly when both are gone.
#
# $1      signal that ends the server: TERM to keep its data, KILL when nobody wants them
# $2      folder to remove at the end, or empty
# $3 …    the server and its options
signal=$1 folder=$2
shift 2

# Ctrl-C is the owner's to answer.
trap '' HUP INT QUIT
trap 'exit 143' TERM
exec 3<&0 4>&1 </dev/null >/dev/null 2>&1

status=0
if read -r _ <&3; then
    "$@" 3<&- &
    server=$!
    trap 'kill -TERM "$server"' TERM
    (
        read -r _ <&3
        kill -"$signal" "$server"
        tries=200
        while [ "$tries" -gt 0 ] && kill -0 "$server"; do
            sleep 0.1
            tries=$((tries - 1))
        done
        kill -KILL "$server"
    ) 4>&- &
    watcher=$!
    # `wait` returns early when we are told to end; the server is gone only when it cannot be signalled any more.
    while
        wait "$server"
        status=$?
        kill -0 "$server"
    do :; done
    kill "$watcher"
fi
[ -z "$folder" ] || rm -rf -- "$folder"
exit "$status"
