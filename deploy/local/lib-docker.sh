# shellcheck shell=bash
# The way `docker`: the servers of compose.yaml, where an engine answers. Sourced by `stack`.

# A client without an engine behind it is common, and some of them wait for ever.
engine_answers() {
    command -v docker >/dev/null && timeout 10 docker info --format '{{.ServerVersion}}' >/dev/null 2>&1
}

compose() { docker compose --file "$here/compose.yaml" --project-name "$ANALYTICS_COMPOSE_PROJECT" "$@"; }

prepare_docker() {
    engine_answers || die "the way docker is not possible here: no engine answers to docker info"
    compose version >/dev/null 2>&1 ||
        die "a container engine answers, but docker has no compose command: install its Compose plugin"
    mkdir -p "$LOCAL_DIR/docker/rabbitmq" "$LOCAL_DIR/docker/postgres"
    { cat "$here/rabbitmq.conf" && stream_address; } >"$LOCAL_DIR/docker/rabbitmq.conf.part"
    echo "$RABBITMQ_PLUGINS" >"$LOCAL_DIR/docker/enabled_plugins.part"
    # Copies that every user may read, whatever the checkout's modes are: the servers are not who we are.
    install -m 644 "$here/postgresql.conf" "$LOCAL_DIR/docker/"
    install -m 644 "$LOCAL_DIR/docker/rabbitmq.conf.part" "$LOCAL_DIR/docker/rabbitmq.conf"
    install -m 644 "$LOCAL_DIR/docker/enabled_plugins.part" "$LOCAL_DIR/docker/enabled_plugins"
}

running_docker() { [[ -n $(compose ps --quiet --status running "$@" 2>/dev/null) ]]; } # [SERVER]
any_running_docker() { engine_answers && running_docker; }

up_docker() {
    local server missing=()
    for server in "${SERVERS[@]}"; do
        if running_docker "$server" && answers "$server"; then
            say "$server: already running on port $(first_port "$server")"
        else
            running_docker "$server" || check_ports_free "$server" || return 1
            missing+=("$server")
        fi
    done
    if ((${#missing[@]} > 0)); then start_docker "${missing[@]}"; fi
}

start_docker() { # SERVER…
    say "docker: starting $*; the first time downloads the images"
    compose up --detach --wait --wait-timeout 300 "$@" && finish_docker "$@"
}

# Healthy by the container's own check; what remains is what only we can check, through the published port.
finish_docker() { # SERVER…
    local server
    for server; do
        if [[ $server == postgres ]]; then provision_postgres || return 1; fi
        answers "$server" || {
            say "$server: does not answer; see: $(logs_docker) $server" >&2
            return 1
        }
        say "$server: answers on port $(first_port "$server")"
    done
}

logs_docker() { echo "docker compose --project-name $ANALYTICS_COMPOSE_PROJECT logs"; }

# Data is in folders of the checkout, so removing the containers keeps it.
down_docker() { compose down; }
stop_docker() { compose stop "$1"; }

status_docker() {
    local server state failed=0
    for server in "${SERVERS[@]}"; do
        if ! running_docker "$server"; then
            state=stopped
        elif answers "$server"; then
            state=answers
        else
            state="runs but does not answer"
        fi
        [[ $state == answers ]] || failed=1
        say "$server: $state"
    done
    return "$failed"
}

exec_docker() { # SERVER COMMAND…; the system user has the server's name in each image
    local server=$1 terminal=()
    shift
    [[ -t 0 && -t 1 ]] || terminal=(--no-TTY)
    compose exec "${terminal[@]}" --user "$server" "$server" "$@"
}

# Files there belong to users of the containers, and a plain user may not remove them: a container does it.
purge_docker() {
    engine_answers || return 0
    compose run --rm --no-deps --no-TTY --user root --volume "$LOCAL_DIR/docker:/purge" --entrypoint sh redis \
        -c 'rm -rf /purge/*'
    compose down
}

admin_docker() { echo "user=postgres dbname=postgres"; }
# Inside its container the server keeps its usual port.
tcp_docker() { echo "host=127.0.0.1 port=5432 connect_timeout=5"; }
shell_docker() { compose exec --no-TTY --user postgres postgres sh -c "$@"; }
