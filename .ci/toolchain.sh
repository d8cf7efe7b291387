# Sourced from the repository's root: makes `cargo` the toolchain that rust-toolchain.toml pins.
#
# A toolchain of the same version under another name ("stable") serves as well, so that a machine
# that has it needs no download; only otherwise is rustup asked to fetch the pinned one.

export PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH:/usr/sbin:/sbin"

pinned_version() {
    sed -n 's/^channel = "\(.*\)"$/\1/p' rust-toolchain.toml
}

# Whether cargo and rustc run here, as they are, without fetching anything.
toolchain_works() {
    RUSTUP_AUTO_INSTALL=0 cargo --version >/dev/null 2>&1 &&
        RUSTUP_AUTO_INSTALL=0 rustc --version >/dev/null 2>&1
}

# Names an installed toolchain of the pinned version, if there is one.
toolchain_of_pinned_version() {
    local name version
    while read -r name _; do
        version=$(rustup run "$name" rustc --version 2>/dev/null | cut -d' ' -f2) || continue
        if [ "$version" = "$(pinned_version)" ]; then
            echo "$name"
            return 0
        fi
    done < <(rustup toolchain list 2>/dev/null)
    return 1
}

if ! toolchain_works && command -v rustup >/dev/null; then
    if name=$(toolchain_of_pinned_version); then
        export RUSTUP_TOOLCHAIN="$name"
    fi
fi
