# The one door for every habit: people and CI run the same recipes.

cargo_deb_version := "3.8.0"
mdbook_version := "0.5.4"

# Lists the recipes.
default:
    @just --list --unsorted

# Checks the formatting.
fmt:
    cargo fmt --all --check

# Formats every file.
fix:
    cargo fmt --all

# Checks the house rules that neither rustfmt nor clippy can see.
tidy:
    cargo run --quiet -p xtask -- tidy

# Runs clippy on everything; a warning is an error.
lint:
    cargo clippy --workspace --all-targets -- -D warnings

# Checks the dependency tree's licences, bans and sources; no network is needed.
deny:
    cargo deny --all-features check --hide-inclusion-graph licenses bans sources

# All programs at once, as the tests are built, so that what they depend on is built once.

# Builds the programs and the library's examples.
build:
    cargo build --workspace --bins
    cargo build -p ringpack --examples --features tokio,tokio-uring

# The integration tests start `ringpack` from the folder above their own executable: the same
# profile's. Documentation tests come first, so that the suite's own summary is the last line.

# Runs every test, and counts those that the machine lacks something for.
test: build
    cargo test --workspace --doc
    rm -f target/skipped.txt
    export RINGPACK_SKIPPED="$PWD/target/skipped.txt"; \
    if cargo nextest --version >/dev/null 2>&1; then \
        cargo nextest run --workspace --no-fail-fast; \
    else \
        cargo test --workspace --no-fail-fast --lib --bins --tests; \
    fi
    @if [ -s target/skipped.txt ]; then echo "skipped, for want of something:"; cat target/skipped.txt; fi

# Cuts the power at that many moments of packing, on each file system; needs root.
power-cut states='20000' seed='1':
    RINGPACK_STATES={{ states }} RINGPACK_SEED={{ seed }} \
        cargo test -p ringpack-lab --test power_cut -- --nocapture --test-threads 2

# Tries every order of the steps of threads that share a table, a gate or a count, by shuttle.
orders:
    mkdir -p target
    cargo rustc --quiet -p ringpack --lib --profile test --message-format json-render-diagnostics \
        -- --cfg ringpack_shuttle > target/orders.json
    "$(sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' target/orders.json)" orders_

# Writes the manual pages to target/man.
man: build
    mkdir -p target/man
    target/debug/ringpack generate pages | while read -r page; do \
        target/debug/ringpack generate man "$page" > "target/man/$page.1" || exit 1; \
    done

# Writes the completions of bash, zsh and fish to target/completions.
completions: build
    mkdir -p target/completions
    target/debug/ringpack generate completions bash > target/completions/ringpack.bash
    target/debug/ringpack generate completions zsh > target/completions/_ringpack
    target/debug/ringpack generate completions fish > target/completions/ringpack.fish

# Makes the Debian package, in target/debian; installs cargo-deb where it is missing.
deb: man completions
    cargo deb --version >/dev/null 2>&1 || cargo install --locked cargo-deb@{{ cargo_deb_version }}
    cargo deb --locked --strip -p ringpack-cli

# Makes the book of docs/, in target/book; installs mdbook where it is missing.
book:
    mdbook --version >/dev/null 2>&1 || cargo install --locked mdbook@{{ mdbook_version }}
    mdbook build

# Builds a program that needs no shared library, by glibc's static one: see docs/PACKAGING.md.
static:
    RUSTFLAGS="-C target-feature=+crt-static" \
        cargo build --release --locked -p ringpack-cli \
        --target {{ arch() }}-unknown-linux-gnu --target-dir target/static

# Builds the documentation; a broken link is an error.
doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

# Measures; arguments go to cargo bench.
bench *args:
    cargo bench -p ringpack-benches {{ args }}

# Built as the tests are, with them, so that nothing is compiled for it alone.

# Runs each benchmark once, unmeasured, so that none rots.
bench-once:
    cargo test --workspace --bench stages --bench structures --bench jobs --bench writers

# Needs a nightly compiler; installs cargo-fuzz where it is missing. Targets: `ls fuzz/targets`. What
# it finds stands in fuzz/artifacts, and is run again by naming the file after the target.

# Fuzzes a target, header for one, for so many seconds.
fuzz target seconds="60":
    cargo fuzz --version >/dev/null 2>&1 || cargo install --locked cargo-fuzz
    mkdir -p fuzz/corpus/{{ target }} fuzz/seeds/{{ target }}
    cargo +nightly fuzz run --fuzz-dir fuzz {{ target }} fuzz/corpus/{{ target }} fuzz/seeds/{{ target }} -- \
        -max_total_time={{ seconds }} -max_len=70000 -rss_limit_mb=2048

# Plants bugs one after the other, and fails if the tests that are there for them pass.
planted:
    cargo run --quiet -p xtask -- planted

# With --counts, instructions alone decide, which a busy machine counts as well as a quiet one.

# Fails where the working tree is slower than a revision, both built and timed here in turn.
gate rev='HEAD' *args:
    cargo run --quiet -p xtask -- gate {{ rev }} {{ args }}

# Shows that the gate fails where it should: against the same tree with a slow-down planted.
gate-planted *args:
    cargo run --quiet -p xtask -- gate-planted {{ args }}

# Needs cargo-semver-checks, and installs it where it is missing.

# Fails where the public interface broke since a revision and the version doesn't say so.
semver rev:
    cargo semver-checks --version >/dev/null 2>&1 || cargo install --locked cargo-semver-checks
    cargo semver-checks -p ringpack --baseline-rev {{ rev }} --all-features

# Needs a nightly compiler with the components miri and rust-src.

# Runs what neither calls C nor the kernel's newer calls under Miri: memory, tables, exchange.
miri:
    MIRIFLAGS="-Zmiri-disable-isolation" \
        cargo +nightly miri test -p ringpack --lib --target-dir target/miri -- \
        buffer::aligned buffer::pool chunker eventcount limits units placement::dense \
        ring::inflight ring::whole write::exchange write::claims

# The crash tests for hours instead of seconds; `scale` times what CI does. Needs root.
soak scale='20' seed='1': build
    RINGPACK_CRASHES={{ scale }} RINGPACK_KILLS=$((200 * {{ scale }})) \
        cargo test -p ringpack-tests --test crash --test storm -- --nocapture
    just power-cut $((2200 * {{ scale }})) {{ seed }}
    for target in header frame index members seek_table record replay container mended tar foreign salvage; do \
        just fuzz $target $((30 * {{ scale }})) || exit 1; \
    done

# Everything that CI checks, the cheap ones first.
ci: fmt tidy deny lint doc bench-once orders test planted
