# shellcheck shell=bash
# The two bases, made of Debian 13's packages where no registry of images is reachable. Sourced by `build`.

BASE_BUILD=localhost/analytics-service-base:build
BASE_RUN=localhost/analytics-service-base:run

install_buildah() {
    command -v buildah >/dev/null && return
    say "installing buildah"
    { apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends -y buildah; } >/dev/null ||
        die "apt-get could not install buildah"
}

make_bases() {
    mkdir -p "$LOCAL_DIR/log"
    unpack_once
    buildah inspect --type image "$BASE_BUILD" >/dev/null 2>&1 || make_base "$BASE_BUILD" fill_build
    buildah inspect --type image "$BASE_RUN" >/dev/null 2>&1 || make_base "$BASE_RUN" fill_run
}

make_base() { # NAME COMMAND, which is called with the container and its folder
    local container folder
    say "debian: making $1"
    container=$(buildah from scratch)
    folder=$(buildah mount "$container")
    "$2" "$container" "$folder"
    buildah umount "$container" >/dev/null
    buildah commit --quiet --rm "$container" "$1" >/dev/null
}

# A C compiler; the Rust toolchain is this machine's and is mounted while building.
fill_build() { # CONTAINER FOLDER
    cp -a "$CACHE_DIR/." "$2"
    mkdir -p "$2/usr/local/rust" "$2/usr/local/cargo"
    buildah config --env CARGO_HOME=/usr/local/cargo \
        --env PATH=/usr/local/cargo/bin:/usr/local/rust/bin:/usr/sbin:/usr/bin:/sbin:/bin "$1"
}

# What the public base has that the service uses: the C library, libgcc and the certificates, without a shell or a package manager.
fill_run() { # CONTAINER FOLDER
    {
        printf '%s\n' lib lib64 etc/os-release usr/lib/os-release etc/nsswitch.conf etc/ssl/certs/ca-certificates.crt
        chroot "$CACHE_DIR" dpkg -L libc6 libgcc-s1 gcc-14-base | sed 's|^/||' |
            grep -E '^(usr/lib64/.*|usr/lib/[^/]+/[^/]*\.so[^/]*|etc/ld\.so\.conf\.d/.*|usr/share/doc/[^/]+/copyright)$'
    } | tar -C "$CACHE_DIR" --no-recursion -cf - -T - | tar -C "$2" -xf -
    mkdir -p "$2"/{dev,proc,sys,run,var/lib,home/nonroot}
    install -d -m 1777 "$2/tmp"
    chown 65532:65532 "$2/home/nonroot"
    printf '%s\n' root:x:0:0:root:/root:/sbin/nologin nonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin >"$2/etc/passwd"
    printf '%s\n' root:x:0: nonroot:x:65532: >"$2/etc/group"
    buildah config --user 65532 --env SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt "$1"
}

# Fills `on_bases`. Of this machine the toolchain, the certificates it trusts and cargo's configuration take part, read-only: crates
# come over its network, and nothing of it lands in a layer.
buildah_arguments() {
    local toolchain configuration=${CARGO_HOME:-$HOME/.cargo}/config.toml certificates=/etc/ssl/certs/ca-certificates.crt
    toolchain=$(rustc --print sysroot) || die "a Rust toolchain is missing"
    [[ -x $toolchain/bin/cargo ]] || die "no cargo in the toolchain's folder $toolchain"
    [[ $toolchain != /usr ]] || die "the Rust toolchain of Debian's packages cannot be mounted alone: install rustup's"
    on_bases=(--build-arg "BUILD_BASE=$BASE_BUILD" --build-arg "RUN_BASE=$BASE_RUN" --volume "$toolchain:/usr/local/rust:ro")
    if [[ -f $certificates ]]; then on_bases+=(--volume "$certificates:$certificates:ro"); fi
    if [[ -f $configuration ]]; then on_bases+=(--volume "$configuration:/usr/local/cargo/config.toml:ro"); fi
}
