# shellcheck shell=bash
# Knowing our own processes, and no others. Sourced by `stack`.
#
# A pid file holds `pid start-time boot-id`. A pid alone could by now be somebody else's process; the three
# together name one process for ever. `enter-root` writes the file as the process that becomes the server.

start_time() { # PID → clock ticks from boot to its start; fails for a process that is gone or a zombie
    local stat
    stat=$(<"/proc/$1/stat") || return 1
    # The command name, in parentheses, may hold spaces and parentheses itself: count from the last one.
    read -ra stat <<<"${stat##*) }"
    [[ ${stat[0]} != [ZX] ]] || return 1
    echo "${stat[19]}"
} 2>/dev/null

pid_of() { # NAME → the pid of our running process of that name
    local pid started boot
    read -r pid started boot <"$LOCAL_DIR/run/$1.pid" || return 1
    [[ $boot == "$(</proc/sys/kernel/random/boot_id)" ]] || return 1
    [[ $(start_time "$pid") == "$started" ]] || return 1
    echo "$pid"
} 2>/dev/null

# Sends the first signal, waits, then SIGKILL. A second reader of the pid file cannot hit a stranger: the
# identity is checked again before every signal.
stop_process() { # NAME SIGNAL SECONDS
    local name=$1 pid deadline=$((SECONDS + $3))
    if pid=$(pid_of "$name"); then
        kill -s "$2" "$pid" 2>/dev/null || true
        while pid_of "$name" >/dev/null; do
            if ((SECONDS >= deadline)); then
                say "$name: did not end within $3 s of SIG$2, killing it"
                kill -s KILL "$pid" 2>/dev/null || true
                deadline=$((SECONDS + 10))
            fi
            sleep 0.05
        done
    fi
    rm -f "$LOCAL_DIR/run/$name.pid"
}

# Read from the kernel, so that no tool has to be installed: state 0A is LISTEN.
listening() { # PORT
    local hex
    hex=$(printf '%04X' "$1")
    grep -qsE "^ *[0-9]+: [0-9A-F]+:$hex [0-9A-F]+:[0-9A-F]+ 0A " /proc/net/tcp /proc/net/tcp6
}

# Called for a server that is not running: whatever listens on its ports is not ours. A server that was
# killed a moment ago may need that moment to let go.
check_ports_free() { # SERVER
    local name deadline=$((SECONDS + 2))
    for name in $(ports_of "$1"); do
        if [[ $name == ANALYTICS_EPMD_PORT ]] && pid_of epmd >/dev/null; then continue; fi
        while listening "${!name}"; do
            if ((SECONDS >= deadline)); then
                say "$1: port ${!name} is taken by something that this stack did not start; free it, or set $name" >&2
                return 1
            fi
            sleep 0.1
        done
    done
}

wait_listening() { # NAME PORT: until our process of that name listens, or has ended, or 10 s are over
    local deadline=$((SECONDS + 10))
    until listening "$2"; do
        ((SECONDS < deadline)) || return 1
        sleep 0.05
    done
    pid_of "$1" >/dev/null
}
