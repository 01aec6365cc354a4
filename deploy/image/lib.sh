# shellcheck shell=bash
# What building and running the image share: settings and the way. Sourced by `build` and `run`.

root=$(cd "$here/../.." && pwd)
IMAGE=${ANALYTICS_IMAGE:-localhost/analytics-service:dev}
LOCAL_DIR=$(realpath -m "${ANALYTICS_LOCAL_DIR:-$root/.local}")
CACHE_DIR=$(realpath -m "${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/analytics-service/trixie-build")
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

say() { printf '%s\n' "$*"; }
die() {
    printf 'image: %s\n' "$*" >&2
    exit 1
}

. "$here/../local/lib-rootfs.sh"
. "$here/../local/lib-docker.sh"
RELEASE=trixie
PACKAGES=gcc,libc6-dev,ca-certificates
UNPACKED="350 MB"

# The same two ways as those of the local stack.
choose_way() {
    way=${ANALYTICS_STACK_WAY:-}
    if [[ -z $way ]] && engine_answers; then way=docker; fi
    way=${way:-debian}
    if [[ $way == debian ]]; then
        debian_possible || die "neither a container engine nor the way debian is possible here: $why_not_debian"
    fi
}
