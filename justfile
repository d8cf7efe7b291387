# The one door for every habit: people and CI run the same recipes.

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

# Builds the library, its examples and the command-line program.
build:
    cargo build -p ringpack -p ringpack-cli
    cargo build -p ringpack --examples --features tokio,tokio-uring

# The integration tests start `ringpack` from the folder above their own executable: the same
# profile's. Documentation tests come first, so that the suite's own summary is the last line.

# Runs every test, and counts those that the machine lacks something for.
test: build
    cargo test --workspace --doc
    rm -f target/skipped.txt
    export RINGPACK_SKIPPED="$PWD/target/skipped.txt"; \
    if cargo nextest --version >/dev/null 2>&1; then \
        cargo nextest run --workspace; \
    else \
        cargo test --workspace --lib --bins --tests; \
    fi
    @if [ -s target/skipped.txt ]; then echo "skipped, for want of something:"; cat target/skipped.txt; fi

# Cuts the power at that many moments of packing, on each file system; needs root.
power-cut states='20000' seed='1':
    RINGPACK_STATES={{ states }} RINGPACK_SEED={{ seed }} \
        cargo test -p ringpack-lab --test power_cut -- --nocapture --test-threads 2

# Tries every order of the steps of threads that share a table, a gate or a count, by shuttle.
orders:
    RUSTFLAGS="--cfg ringpack_shuttle" \
        cargo test -p ringpack --lib --target-dir target/orders -- orders_

# Builds the documentation; a broken link is an error.
doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

# Measures; arguments go to cargo bench.
bench *args:
    cargo bench -p ringpack-benches {{ args }}

# Runs each benchmark once, unmeasured, so that none rots.
bench-once:
    cargo bench -p ringpack-benches -- --test

# Needs a nightly compiler; installs cargo-fuzz where it is missing. Targets: `ls fuzz/targets`. What
# it finds stands in fuzz/artifacts, and is run again by naming the file after the target.

# Fuzzes a target, header for one, for so many seconds.
fuzz target seconds="60":
    cargo fuzz --version >/dev/null 2>&1 || cargo install --locked cargo-fuzz
    mkdir -p fuzz/corpus/{{ target }}
    cargo +nightly fuzz run --fuzz-dir fuzz {{ target }} -- \
        -max_total_time={{ seconds }} -max_len=70000 -rss_limit_mb=2048

# Plants bugs one after the other, and fails if the tests that are there for them pass.
planted:
    cargo run --quiet -p xtask -- planted

# Fails where the working tree is slower than a revision, both built and timed here in turn.
gate rev='HEAD':
    cargo run --quiet -p xtask -- gate {{ rev }}

# Shows that the gate fails where it should: against the same tree with a slow-down planted.
gate-planted:
    cargo run --quiet -p xtask -- gate-planted

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
    for target in header frame index members seek_table record replay container mended; do \
        just fuzz $target $((30 * {{ scale }})) || exit 1; \
    done

# Everything that CI checks, the cheap ones first.
ci: fmt tidy deny lint doc bench-once orders test planted
