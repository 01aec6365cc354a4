# shellcheck shell=bash
# How each server is configured and launched from the unpacked packages. Sourced by `stack`.

rabbitmq_environment() {
    rabbitmq_env=(
        RABBITMQ_NODENAME=analytics@localhost
        RABBITMQ_CONFIG_FILE=/srv/rabbitmq.conf
        RABBITMQ_CONF_ENV_FILE=/dev/null
        RABBITMQ_ENABLED_PLUGINS_FILE=/srv/enabled_plugins
        RABBITMQ_MNESIA_BASE=/srv/mnesia
        RABBITMQ_LOG_BASE=/srv/log
        "RABBITMQ_DIST_PORT=$ANALYTICS_RABBITMQ_DIST_PORT"
        "ERL_EPMD_PORT=$ANALYTICS_EPMD_PORT"
        ERL_EPMD_ADDRESS=127.0.0.1
        'RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=-start_epmd false -kernel inet_dist_use_interface {127,0,0,1}'
        # Makes the start script exec the node instead of guarding it, so that our pid is the node's.
        RUNNING_UNDER_SYSTEMD=true
    )
}

# What clients of the stream protocol connect to: the broker gives them an address of its own.
stream_address() {
    echo "stream.advertised_host = 127.0.0.1"
    echo "stream.advertised_port = $ANALYTICS_RABBITMQ_STREAM_PORT"
}

# Erlang's port mapper in the foreground, as a process of ours: started by the node it would outlive it.
ensure_epmd() {
    if pid_of epmd >/dev/null; then return 0; fi
    launch epmd rabbitmq epmd -address 127.0.0.1 -port "$ANALYTICS_EPMD_PORT"
    wait_listening epmd "$ANALYTICS_EPMD_PORT"
}

launch_rabbitmq() {
    local dir rabbitmq_env
    dir=$(make_data_dir rabbitmq)
    {
        echo "listeners.tcp.local = 127.0.0.1:$ANALYTICS_RABBITMQ_PORT"
        echo "stream.listeners.tcp.local = 127.0.0.1:$ANALYTICS_RABBITMQ_STREAM_PORT"
        stream_address
        # Takes the place of guest in a new node.
        echo "default_user = analytics"
        echo "default_pass = $ANALYTICS_SECRET_RABBITMQ"
        cat "$here/rabbitmq.conf"
    } | put_file "$dir/rabbitmq.conf"
    put_file "$dir/.erlang.cookie" <<<"$ANALYTICS_SECRET_ERLANG_COOKIE"
    put_file "$dir/enabled_plugins" <<<"$RABBITMQ_PLUGINS"
    ensure_epmd || return 1
    rabbitmq_environment
    launch rabbitmq rabbitmq "${rabbitmq_env[@]}" rabbitmq-server
}

# A killed server's sessions live until they look up from their query, and keep its memory in use, so that no
# other can start. They are known by their program and the data folder they stand in, and recovery follows
# anyway. When none is left the lock files mean nothing: a zombie of their pid would still keep a server away.
end_orphaned_sessions() {
    local data cwd pids
    data=$(data_of postgres)/data
    while
        pids=()
        while read -r cwd; do
            if [[ ${cwd%cwd}exe -ef $CACHE_DIR$POSTGRES_BIN/postgres ]]; then
                cwd=${cwd#/proc/}
                pids+=("${cwd%/cwd}")
            fi
        done < <(find -L /proc/[0-9]*/cwd -maxdepth 0 -samefile "$data" 2>/dev/null)
        ((${#pids[@]} > 0))
    do
        kill -s KILL "${pids[@]}" 2>/dev/null || true
        sleep 0.05
    done
    rm -f "$data/postmaster.pid" "$(data_of postgres)"/.s.PGSQL.*
}

launch_postgres() {
    local dir
    end_orphaned_sessions
    dir=$(make_data_dir postgres)
    put_file "$dir/postgresql.conf" <"$here/postgresql.conf"
    if [[ ! -d $dir/data ]]; then
        # Made under another name first: an interrupted initdb must not be taken for a database.
        rm -rf "$dir/data.part"
        in_root postgres initdb --pgdata=/srv/data.part --username=postgres --encoding=UTF8 \
            --locale-provider=builtin --locale=C.UTF-8 --auth-local=peer --auth-host=scram-sha-256 \
            >"$LOCAL_DIR/log/initdb.log" 2>&1 || {
            say "postgres: initdb failed; see $LOCAL_DIR/log/initdb.log" >&2
            return 1
        }
        mv "$dir/data.part" "$dir/data"
    fi
    launch postgres postgres postgres -D /srv/data -c config_file=/srv/postgresql.conf \
        -c listen_addresses=127.0.0.1 -c port="$ANALYTICS_POSTGRES_PORT" -c unix_socket_directories=/srv
}

launch_redis() {
    local dir
    dir=$(make_data_dir redis)
    put_file "$dir/redis.conf" <<CONF
bind 127.0.0.1
port $ANALYTICS_REDIS_PORT
requirepass $ANALYTICS_SECRET_REDIS
save ""
appendonly no
dir /srv
CONF
    launch redis redis "$CACHE_SERVER-server" /srv/redis.conf
}
