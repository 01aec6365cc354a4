# shellcheck shell=bash
# Does a server really answer, and us? Each check logs in, takes milliseconds and shows no password in a
# process list: they speak the protocols through the shell's own sockets. Sourced by `stack`.

# In a subshell, which closes the sockets whichever way a check ends.
answers() { ("${1}_answers") 2>/dev/null; } # SERVER

# A whole AMQP 0-9-1 connection: PLAIN login, open the virtual host, close, so that nothing strange is left in
# the log. The broker answers Tune (10.30) only to a right password, and OpenOk (10.41) when the host is ready.
rabbitmq_answers() {
    local socket user=analytics password=$ANALYTICS_SECRET_RABBITMQ login
    login=$((2 + ${#user} + ${#password}))
    exec {socket}<>"/dev/tcp/127.0.0.1/$ANALYTICS_RABBITMQ_PORT" || return 1
    {
        printf 'AMQP\x00\x00\x09\x01'
        # Frame: method, channel 0, size; Connection.StartOk with no properties; mechanism; response; locale.
        printf '\x01\x00\x00%b' "$(be32 $((4 + 4 + 6 + 4 + login + 6)))"
        printf '\x00\x0a\x00\x0b\x00\x00\x00\x00\x05PLAIN%b' "$(be32 "$login")"
        printf '\x00%s\x00%s\x05en_US\xce' "$user" "$password"
    } >&"$socket"
    [[ $(read_method "$socket") == 000a000a && $(read_method "$socket") == 000a001e ]] || return 1
    {
        # TuneOk: one channel, frames of 8 KiB, no heartbeat. Open "/". Close with code 200.
        printf '\x01\x00\x00\x00\x00\x00\x0c\x00\x0a\x00\x1f\x00\x01\x00\x00\x20\x00\x00\x00\xce'
        printf '\x01\x00\x00\x00\x00\x00\x08\x00\x0a\x00\x28\x01/\x00\x00\xce'
        printf '\x01\x00\x00\x00\x00\x00\x0b\x00\x0a\x00\x32\x00\xc8\x00\x00\x00\x00\x00\xce'
    } >&"$socket"
    [[ $(read_method "$socket") == 000a0029 && $(read_method "$socket") == 000a0033 ]]
}

be32() { # NUMBER → four bytes, big endian, as escapes
    printf '\\x%02x' $(($1 >> 24 & 255)) $(($1 >> 16 & 255)) $(($1 >> 8 & 255)) $(($1 & 255))
}

read_method() { # DESCRIPTOR → class and method of the next frame, in hexadecimal
    local frame
    frame=$(read_hex "$1" 7)
    frame=$(read_hex "$1" $((16#${frame:6:8} + 1)))
    echo "${frame:0:8}"
}

read_hex() { timeout 5 head -c "$2" <&"$1" | od -An -v -tx1 | tr -d ' \n'; } # DESCRIPTOR BYTES

redis_answers() {
    local socket line
    exec {socket}<>"/dev/tcp/127.0.0.1/$ANALYTICS_REDIS_PORT" || return 1
    printf 'AUTH %s\r\nPING\r\nQUIT\r\n' "$ANALYTICS_SECRET_REDIS" >&"$socket"
    read -rt 5 line <&"$socket"
    [[ $line == +OK* ]] && read -rt 5 line <&"$socket"
    [[ $line == +PONG* ]]
}

# As the service itself, over TCP, with its password.
postgres_answers() {
    [[ $(postgres_as analytics_service "$ANALYTICS_SECRET_POSTGRES_SERVICE" <<<'SELECT 1') == 1 ]]
}

postgres_as() { # ROLE PASSWORD <SQL
    run_psql "$("tcp_$way") user=$1 dbname=analytics" "$2"
}

# The password goes ahead of the SQL through the pipe: arguments and environments are there for others to read.
run_psql() { # CONNINFO PASSWORD <SQL
    # shellcheck disable=SC2016  # expanded by the inner shell
    { echo "$2" && cat; } | "shell_$way" \
        'IFS= read -r PGPASSWORD && export PGPASSWORD && exec psql -XqAt -v ON_ERROR_STOP=1 "$1"' sh "$1"
}

# Roles, database and rights, then the proof that the owner may create the extension, which is what every
# migration starts with. Both repeatable.
provision_postgres() {
    {
        printf '\\set %s %s\n' owner_password "$ANALYTICS_SECRET_POSTGRES_OWNER" \
            service_password "$ANALYTICS_SECRET_POSTGRES_SERVICE"
        cat "$here/provision.sql"
    } | run_psql "$("admin_$way")" '' >/dev/null || return 1
    postgres_as analytics_owner "$ANALYTICS_SECRET_POSTGRES_OWNER" >/dev/null <<'SQL'
SET client_min_messages = warning;
BEGIN;
CREATE EXTENSION IF NOT EXISTS timescaledb;
ROLLBACK;
SQL
}
