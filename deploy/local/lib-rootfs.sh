# shellcheck shell=bash
# Packages of one of Debian's releases, unpacked once into a cache folder. Sourced by `stack`, and by
# ../image/build for packages and a folder of its own.

debian_possible() { # sets why_not_debian
    why_not_debian=
    if ((EUID != 0)); then
        why_not_debian="not root"
    elif ! [[ -d $CACHE_DIR ]] && ! command -v debootstrap >/dev/null && ! command -v apt-get >/dev/null; then
        why_not_debian="neither debootstrap nor apt-get is here"
    elif ! command -v unshare >/dev/null || ! command -v setpriv >/dev/null; then
        why_not_debian="unshare and setpriv (package util-linux) are missing"
    elif ! unshare --mount true 2>/dev/null; then
        why_not_debian="this machine does not let root make a mount namespace (a container without CAP_SYS_ADMIN?)"
    fi
    [[ -z $why_not_debian ]]
}

install_debootstrap() {
    command -v debootstrap >/dev/null && return
    say "debian: installing debootstrap"
    # The lists of a fresh machine or image may be absent or old: refresh them only when needed.
    apt_install || { apt-get update -qq >>"$LOCAL_DIR/log/unpack.log" 2>&1 && apt_install; } ||
        die "apt-get could not install debootstrap and debian-archive-keyring; see $LOCAL_DIR/log/unpack.log"
}

apt_install() {
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends \
        debootstrap debian-archive-keyring >>"$LOCAL_DIR/log/unpack.log" 2>&1
}

# The mirror that this machine's apt uses for Debian, if it does; nothing means debootstrap's own default.
debian_mirror() {
    # shellcheck disable=SC2016  # apt-get expands it
    apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Label: Debian' 2>/dev/null |
        grep -m1 -E '^(https?|ftp|file):' || true
}

# apt may reach its mirror through a proxy of its own settings, of which debootstrap knows nothing.
apt_proxy() {
    local proxy=
    eval "$(apt-config shell proxy Acquire::http::Proxy 2>/dev/null)"
    if [[ -n $proxy && $proxy != DIRECT ]]; then echo "$proxy"; fi
}

# Unpacked beside its final place and renamed as the last step: an interrupted run leaves a folder of
# another name, which the next run removes. The lock is the cache's own, since checkouts share it.
unpack_once() {
    local part=$CACHE_DIR.part began=$SECONDS lock
    [[ ! -d $CACHE_DIR ]] || return 0
    mkdir -p "$(dirname "$CACHE_DIR")"
    exec {lock}>"$CACHE_DIR.lock"
    flock --nonblock "$lock" || {
        say "debian: another stack is unpacking $CACHE_DIR, waiting for it"
        flock "$lock"
    }
    if [[ ! -d $CACHE_DIR ]]; then
        rm -rf --one-file-system "$part"
        install_debootstrap
        say "debian: unpacking packages of Debian's $RELEASE into $CACHE_DIR, once (${UNPACKED:-700 MB}, one to three minutes)"
        run_debootstrap "$part" || {
            rm -rf --one-file-system "$part"
            die "debootstrap failed; see $LOCAL_DIR/log/unpack.log"
        }
        finish_root "$part"
        mv "$part" "$CACHE_DIR"
        say "debian: unpacked after $((SECONDS - began)) s"
    fi
    exec {lock}>&-
}

# In namespaces of its own and tied to this script's life: whatever ends the script, even SIGKILL, takes
# debootstrap, its children and its mounts along.
run_debootstrap() { # FOLDER
    local mirror proxy script=
    mirror=$(debian_mirror)
    # Images often come without apt's lists, and only those say which mirror is Debian's.
    if [[ -z $mirror ]] && apt-get update -qq >>"$LOCAL_DIR/log/unpack.log" 2>&1; then mirror=$(debian_mirror); fi
    proxy=${http_proxy:-$(apt_proxy)}
    # An older debootstrap does not know the name yet; its script is the same as that of unstable.
    [[ -e /usr/share/debootstrap/scripts/$RELEASE ]] || script=/usr/share/debootstrap/scripts/sid
    http_proxy=$proxy setpriv --pdeathsig KILL \
        unshare --mount --pid --fork --kill-child \
        debootstrap --variant=minbase --include="$PACKAGES" "$RELEASE" "$1" ${mirror:+"$mirror"} ${script:+"$script"} \
        </dev/null 2>&1 9>&- | tee -a "$LOCAL_DIR/log/unpack.log" | show_phases &
    # In the background, because a shell in a foreground command would not notice a Ctrl-C before its end.
    wait $!
}

# Of some thousand lines, the first one of each phase.
show_phases() {
    awk '$1 == "E:" { print "debian: " $0; fflush() }
         $1 == "I:" && $2 ~ /^(Retrieving|Extracting|Unpacking|Configuring)$/ && !seen[$2]++ {
             print "debian:   " tolower($2); fflush() }'
}

finish_root() { # FOLDER
    # A cluster made by the package and the downloaded archives: 190 MB that nobody reads.
    rm -rf "$1"/var/lib/postgresql/[0-9]* "$1/var/cache/apt/archives" "$1/var/lib/apt/lists"
    # Node names end in @localhost, and the packages bring no hosts file.
    printf '127.0.0.1 localhost\n::1 localhost\n' >"$1/etc/hosts"
}
