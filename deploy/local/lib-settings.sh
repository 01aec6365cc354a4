# shellcheck shell=bash
# Settings, secrets and the files that others read. Sourced by `stack`.

SERVERS=(rabbitmq postgres redis)
# The stream protocol, for producers of its client libraries.
RABBITMQ_PLUGINS='[rabbitmq_stream].'

LOCAL_DIR=$(realpath -m "${ANALYTICS_LOCAL_DIR:-$here/../../.local}")
STACK_CACHE=$(realpath -m "${ANALYTICS_STACK_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/analytics-service}")

# Exported for compose.yaml, which reads the same names.
export ANALYTICS_LOCAL_DIR=$LOCAL_DIR
export ANALYTICS_RABBITMQ_PORT=${ANALYTICS_RABBITMQ_PORT:-21672}
export ANALYTICS_POSTGRES_PORT=${ANALYTICS_POSTGRES_PORT:-21432}
export ANALYTICS_REDIS_PORT=${ANALYTICS_REDIS_PORT:-21379}
export ANALYTICS_RABBITMQ_STREAM_PORT=${ANALYTICS_RABBITMQ_STREAM_PORT:-$((ANALYTICS_RABBITMQ_PORT + 3))}
# Erlang's are derived from the AMQP port, so that three overrides are enough for a second stack on one machine.
ANALYTICS_RABBITMQ_DIST_PORT=${ANALYTICS_RABBITMQ_DIST_PORT:-$((ANALYTICS_RABBITMQ_PORT + 1))}
ANALYTICS_EPMD_PORT=${ANALYTICS_EPMD_PORT:-$((ANALYTICS_RABBITMQ_PORT + 2))}
# Named after the folder of the data: two checkouts must not take each other's containers for their own.
export ANALYTICS_COMPOSE_PROJECT=${ANALYTICS_COMPOSE_PROJECT:-analytics-service-$(cksum <<<"$LOCAL_DIR" | cut -d' ' -f1)}

say() { printf '%s\n' "$*"; }
die() {
    printf 'stack: %s\n' "$*" >&2
    exit 1
}

ports_of() { # SERVER → the names of the variables that hold its ports
    case $1 in
        rabbitmq)
            echo ANALYTICS_RABBITMQ_PORT ANALYTICS_RABBITMQ_STREAM_PORT
            if [[ ${way:-} != docker ]]; then echo ANALYTICS_RABBITMQ_DIST_PORT ANALYTICS_EPMD_PORT; fi
            ;;
        postgres) echo ANALYTICS_POSTGRES_PORT ;;
        redis) echo ANALYTICS_REDIS_PORT ;;
    esac
}

first_port() { # SERVER → the number that clients connect to
    local name
    read -r name _ < <(ports_of "$1")
    echo "${!name}"
}

stacks() { sed '/^#/d' "$here/stacks"; } # its rows
stack_names() { stacks | awk '{ print $1 }' | paste -sd ' '; }
default_stack() { stacks | awk 'NR == 1 { print $1 }'; }

# Sets what the row of that name says: the release and its packages, where they are unpacked, PostgreSQL's major version and
# which server is the cache. Data of one stack is nothing for another; the default's folder has no name in it.
use_stack() { # NAME
    local name
    stack=
    while read -r name RELEASE PACKAGES; do
        if [[ $name == "$1" ]]; then
            stack=$name
            break
        fi
    done < <(stacks)
    [[ -n $stack ]] || die "ANALYTICS_STACK is one of $(stack_names), not: $1"
    CACHE_DIR=$STACK_CACHE/$stack
    DATA_DIR=$LOCAL_DIR/debian
    if [[ $stack != "$(default_stack)" ]]; then DATA_DIR+=-$stack; fi
    POSTGRES_BIN=/usr/lib/postgresql/$(sed -E 's/.*postgresql-([0-9]+).*/\1/' <<<"$PACKAGES")/bin
    CACHE_SERVER=redis
    if [[ $PACKAGES == *valkey* ]]; then CACHE_SERVER=valkey; fi
}

check_settings() {
    local server name seen=' '
    use_stack "${ANALYTICS_STACK:-$(default_stack)}"
    for server in "${SERVERS[@]}"; do
        for name in $(ports_of "$server"); do
            if ! [[ ${!name} =~ ^[1-9][0-9]{0,4}$ ]] || ((${!name} > 65535)); then
                die "$name is not a port: ${!name}"
            fi
            [[ $seen != *" ${!name} "* ]] || die "$name is ${!name}, which another of our servers uses"
            seen+="${!name} "
        done
    done
    case ${ANALYTICS_STACK_WAY:-} in
        '' | docker | debian) ;;
        *) die "ANALYTICS_STACK_WAY is docker or debian, not: $ANALYTICS_STACK_WAY" ;;
    esac
}

make_local_dir() {
    mkdir -p "$LOCAL_DIR/run" "$LOCAL_DIR/log"
    chmod 700 "$LOCAL_DIR/run" "$LOCAL_DIR/log"
    # The folder hides itself from git, wherever it is put inside a checkout.
    [[ -f $LOCAL_DIR/.gitignore ]] || echo '*' >"$LOCAL_DIR/.gitignore"
}

# One `up`, `down`, `start` or `stop` at a time for a local dir. Servers do not inherit the descriptor.
hold_lock() {
    make_local_dir
    exec 9>"$LOCAL_DIR/run/lock"
    flock --timeout 600 9 || die "another stack command has been holding $LOCAL_DIR/run/lock for ten minutes"
}

# `up` writes down which way and which stack it took, so that later verbs treat what is running and not what could run.
recorded_way() {
    local recorded=
    way=
    if [[ -f $LOCAL_DIR/run/way ]]; then read -r way recorded <"$LOCAL_DIR/run/way" || true; fi
    if [[ -n $way ]]; then use_stack "${recorded:-$(default_stack)}"; fi
}

choose_way() {
    recorded_way
    if [[ -n $way ]] && "any_running_$way"; then
        if [[ ${ANALYTICS_STACK_WAY:-$way} != "$way" ]]; then
            die "the stack runs the way $way; bring it down before changing to $ANALYTICS_STACK_WAY"
        fi
        if [[ ${ANALYTICS_STACK:-$stack} != "$stack" ]]; then
            die "the stack that runs is $stack; bring it down before changing to $ANALYTICS_STACK"
        fi
        refuse_named_docker
        return
    fi
    use_stack "${ANALYTICS_STACK:-$(default_stack)}"
    way=${ANALYTICS_STACK_WAY:-}
    if [[ -z $way ]] && engine_answers; then way=docker; fi
    if [[ -z $way ]] && debian_possible; then way=debian; fi
    if [[ -z $way ]]; then
        say "stack: no container engine answers, and Debian packages cannot be used: $why_not_debian" >&2
        say "install Docker Engine with its Compose plugin (or start it), or run this as root on Debian or a" >&2
        say "relative of it with the packages debootstrap, debian-archive-keyring, util-linux and coreutils" >&2
        exit 1
    fi
    refuse_named_docker
    echo "$way $stack" >"$LOCAL_DIR/run/way"
}

# The names are of Debian's packages; what runs in containers is what compose.yaml says.
refuse_named_docker() {
    if [[ $way == docker && -n ${ANALYTICS_STACK:-} ]]; then
        die "ANALYTICS_STACK=$ANALYTICS_STACK is of the way debian alone: set ANALYTICS_STACK_WAY=debian, or no name"
    fi
}

random_hex() { head -c "$1" /dev/urandom | od -An -v -tx1 | tr -d ' \n'; }

SECRETS=(RABBITMQ POSTGRES_ADMIN POSTGRES_OWNER POSTGRES_SERVICE REDIS ERLANG_COOKIE HS256 LINKS)

# Made by the first `up` and kept. Hexadecimal, so that a secret never needs quoting: not in a URL, not in SQL,
# not in a configuration file.
make_secrets() {
    local file=$LOCAL_DIR/secrets.env name
    if [[ -f $file ]]; then
        # Younger than some folders' data, which was not created with it.
        grep -q '^ANALYTICS_SECRET_LINKS=' "$file" || echo "ANALYTICS_SECRET_LINKS=$(random_hex 32)" >>"$file"
        return
    fi
    # New passwords would not open data that was made with the old ones.
    if compgen -G "$LOCAL_DIR/debian*" >/dev/null || [[ -d $LOCAL_DIR/docker ]]; then
        die "$LOCAL_DIR holds data but its secrets.env is gone; start over with: down --purge"
    fi
    (
        umask 077
        for name in "${SECRETS[@]}"; do echo "ANALYTICS_SECRET_$name=$(random_hex 32)"; done >"$file.part"
    )
    mv "$file.part" "$file"
}

# Exported for compose.yaml. Without the file the names still get a value, so that `down` works.
load_secrets() {
    local name
    set -a
    for name in "${SECRETS[@]}"; do declare -g "ANALYTICS_SECRET_$name=unknown"; done
    # shellcheck source=/dev/null
    if [[ -f $LOCAL_DIR/secrets.env ]]; then . "$LOCAL_DIR/secrets.env"; fi
    set +a
}

write_stack_env() {
    local file=$LOCAL_DIR/stack.env
    local rabbitmq=127.0.0.1:$ANALYTICS_RABBITMQ_PORT postgres=127.0.0.1:$ANALYTICS_POSTGRES_PORT
    (
        umask 077
        cat >"$file.part" <<ENV
ANALYTICS__BROKER__URL=amqp://analytics:$ANALYTICS_SECRET_RABBITMQ@$rabbitmq/%2f
ANALYTICS__BROKER__STREAM_URL=rabbitmq-stream://analytics:$ANALYTICS_SECRET_RABBITMQ@127.0.0.1:$ANALYTICS_RABBITMQ_STREAM_PORT/%2f
ANALYTICS__DATABASE__URL=postgres://analytics_service:$ANALYTICS_SECRET_POSTGRES_SERVICE@$postgres/analytics
ANALYTICS__DATABASE__MIGRATION_URL=postgres://analytics_owner:$ANALYTICS_SECRET_POSTGRES_OWNER@$postgres/analytics
ANALYTICS__CACHE__URL=redis://:$ANALYTICS_SECRET_REDIS@127.0.0.1:$ANALYTICS_REDIS_PORT/0
ANALYTICS__AUTH__HS256_SECRET=$ANALYTICS_SECRET_HS256
ANALYTICS__OBJECTS__DIRECTORY='$LOCAL_DIR/exports'
ANALYTICS__OBJECTS__ALLOW_UNENCRYPTED=true
ANALYTICS__OBJECTS__LINK_SECRET=$ANALYTICS_SECRET_LINKS
ANALYTICS_RABBITMQ_STREAM_ADDRESS=127.0.0.1:$ANALYTICS_RABBITMQ_STREAM_PORT
ENV
        if [[ $way == debian ]]; then echo "ANALYTICS_STACK_PACKAGES='$CACHE_DIR'" >>"$file.part"; fi
    )
    mv "$file.part" "$file"
}

# Only what the stack made, by name: the folder may hold other things of the checkout.
purge() {
    if [[ -d $LOCAL_DIR/docker ]]; then purge_docker; fi
    rm -rf --one-file-system "$LOCAL_DIR"/debian* "$LOCAL_DIR/docker" "$LOCAL_DIR/exports" "$LOCAL_DIR/log" \
        "$LOCAL_DIR/secrets.env" "$LOCAL_DIR/stack.env" "$LOCAL_DIR"/run/*.pid "$LOCAL_DIR/run/way"
}
