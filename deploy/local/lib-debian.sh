# shellcheck shell=bash
# The way `debian`: servers from the unpacked packages, each under chroot in a mount namespace of its own.
# Sourced by `stack`.

# Long, because recovery after a crash may have to read all of the permitted WAL again.
START_SECONDS=300

prepare_debian() {
    debian_possible || die "the way debian is not possible here: $why_not_debian"
    unpack_once
}

any_running_debian() {
    local name
    for name in rabbitmq epmd postgres redis; do
        if pid_of "$name" >/dev/null; then return 0; fi
    done
    return 1
}

# The folder that a server sees as /srv.
data_of() { echo "$DATA_DIR/$1"; }

# The system user that its package made.
user_of() { # SERVER
    if [[ $1 == redis ]]; then echo "$CACHE_SERVER"; else echo "$1"; fi
}

# Fills `entered` with the command line that runs COMMAND inside the packages; NAME=value words may come
# before it. A clean environment: variables of the caller's (PGPORT, RABBITMQ_…, ERL_…) must not reach a server.
enter() { # SERVER PIDFILE COMMAND…
    local server=$1 pidfile=$2
    shift 2
    entered=(
        unshare --mount --propagation private
        "$here/enter-root" "$CACHE_DIR" "$(data_of "$server")" "$(user_of "$server")" "$pidfile"
        /usr/bin/env -i "PATH=$POSTGRES_BIN:/usr/lib/rabbitmq/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        LANG=C.UTF-8 HOME=/srv "TERM=${TERM:-dumb}" "$@"
    )
}

in_root() { # SERVER COMMAND…
    local entered
    enter "$1" '' "${@:2}"
    "${entered[@]}"
}

# In a session of its own, so that a Ctrl-C at the terminal does not reach it. Returns when the process has
# written its pid file, or has ended.
launch() { # NAME SERVER COMMAND…
    local name=$1 entered log=$LOCAL_DIR/log/$1.log pidfile=$LOCAL_DIR/run/$1.pid job
    if [[ -f $log ]]; then mv "$log" "$log.1"; fi
    rm -f "$pidfile"
    enter "$2" "$pidfile" "${@:3}"
    setsid "${entered[@]}" </dev/null >"$log" 2>&1 9>&- &
    job=$!
    while [[ ! -f $pidfile ]] && kill -0 "$job" 2>/dev/null; do sleep 0.02; done
}

make_data_dir() { # SERVER → prints its folder, owned by the server's user inside the packages
    local dir owner
    dir=$(data_of "$1")
    owner=$(awk -F: -v user="$(user_of "$1")" '$1 == user { print $3 ":" $4 }' "$CACHE_DIR/etc/passwd")
    mkdir -p "$dir"
    chown "$owner" "$dir"
    chmod 700 "$dir"
    echo "$dir"
}

# FILE <content: rewritten at every start, readable by the server's user alone.
put_file() {
    (umask 077 && cat >"$1")
    chown --reference="$(dirname "$1")" "$1"
}

# PostgreSQL is ready for provisioning before the roles exist that the full check logs in with.
ready() { # SERVER
    if [[ $1 == postgres ]]; then
        [[ $(run_psql "$(admin_debian)" '' <<<'SELECT 1' 2>/dev/null) == 1 ]]
    else
        answers "$1"
    fi
}

wait_ready() { # SERVER SECONDS
    local deadline=$((SECONDS + $2))
    until ready "$1"; do
        pid_of "$1" >/dev/null && ((SECONDS < deadline)) || return 1
        sleep 0.1
    done
}

start_debian() { # SERVER
    local server=$1 port began=$SECONDS attempt log=$LOCAL_DIR/log/$1.log
    port=$(first_port "$server")
    if pid_of "$server" >/dev/null && answers "$server"; then
        if [[ $server == rabbitmq ]]; then ensure_epmd || return 1; fi
        say "$server: already running on port $port"
        return
    fi
    # More than one try, because a client's outgoing connection may for a moment have been given our port number.
    for attempt in 1 2 3; do
        if ! pid_of "$server" >/dev/null; then
            check_ports_free "$server" || return 1
            say "$server: starting on 127.0.0.1:$port"
            "launch_$server" || break
        fi
        if wait_ready "$server" "$START_SECONDS"; then
            if [[ $server == postgres ]]; then provision_postgres || break; fi
            answers "$server" || break
            say "$server: answers after $((SECONDS - began)) s"
            return
        fi
        ! pid_of "$server" >/dev/null || break
        say "$server: ended before it answered (try $attempt of 3)"
        sleep 1
    done
    say "$server: does not answer; see $log" >&2
    return 1
}

stop_debian() { # SERVER
    case $1 in
        rabbitmq)
            stop_process rabbitmq TERM 60
            stop_process epmd TERM 5
            ;;
        # Fast shutdown: ends sessions, writes a checkpoint.
        postgres)
            stop_process postgres INT 120
            end_orphaned_sessions
            ;;
        redis) stop_process redis TERM 10 ;;
    esac
    say "$1: stopped"
}

# All ports are looked at before anything starts.
up_debian() {
    local server
    for server in "${SERVERS[@]}"; do
        pid_of "$server" >/dev/null || check_ports_free "$server" || return 1
    done
    each_server start_debian
}

logs_debian() { echo "$LOCAL_DIR/log"; }
down_debian() { each_server stop_debian; }

status_debian() {
    local server pid state failed=0
    for server in "${SERVERS[@]}"; do
        if ! pid=$(pid_of "$server"); then
            state=stopped
        elif answers "$server"; then
            state="answers, pid $pid, log $LOCAL_DIR/log/$server.log"
        else
            state="runs with pid $pid but does not answer, log $LOCAL_DIR/log/$server.log"
        fi
        [[ $state == answers* ]] || failed=1
        say "$server: $state"
    done
    return "$failed"
}

exec_debian() { # SERVER COMMAND…
    local server=$1 rabbitmq_env
    shift
    pid_of "$server" >/dev/null || die "$server is not running"
    rabbitmq_environment
    case $server in
        rabbitmq) in_root rabbitmq "${rabbitmq_env[@]}" "$@" ;;
        postgres) in_root postgres PGHOST=/srv "PGPORT=$ANALYTICS_POSTGRES_PORT" "$@" ;;
        redis) in_root redis "REDISCLI_AUTH=$ANALYTICS_SECRET_REDIS" "$@" ;;
    esac
}

admin_debian() { echo "host=/srv port=$ANALYTICS_POSTGRES_PORT user=postgres dbname=postgres"; }
tcp_debian() { echo "host=127.0.0.1 port=$ANALYTICS_POSTGRES_PORT connect_timeout=5"; }
shell_debian() { in_root postgres sh -c "$@"; }
