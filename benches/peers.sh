#!/usr/bin/env bash
# How ringpack compares with public tools, on one disk, with one file, in turn.
#
#   benches/peers.sh FOLDER [FILE] [MEBIBYTES] [ROUNDS]
#
# FILE is what is packed (its first MEBIBYTES); without one, content is made up. Every side's time
# includes the fsync after which the result is durable. Prints, for each command, the median of the
# rounds in seconds, the fastest and the slowest, the size it left, and the ratio of medians to
# ringpack's of the same job; as tab-separated text. A tool that isn't here is named and left out.
set -euo pipefail

folder=${1:?usage: peers.sh FOLDER [FILE] [MEBIBYTES] [ROUNDS]}
file=${2:-}
mebibytes=${3:-1024}
rounds=${4:-5}
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
ringpack=$root/target/release/ringpack

(cd "$root" && cargo build --release --quiet -p ringpack-cli -p ringpack-benches)
work=$(mktemp -d "$folder/ringpack-peers.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"
if [ -n "$file" ]; then
    head -c "$((mebibytes << 20))" -- "$file" >in
else
    "$root/target/release/bench-content" in "$mebibytes"
fi
sync in

# job | tool that must be there | what it is called | command | what it leaves
commands() {
    local cores
    cores=$(nproc)
    cat <<END
pack -1|true|ringpack pack -1|$ringpack pack -q -f -1 in -o out.r1|out.r1
pack -1|zstd|zstd -1 -T$cores|zstd -q -f -1 -T$cores in -o out.z1 && sync out.z1|out.z1
pack -1|pzstd|pzstd -1 -p $cores|pzstd -q -f -1 -p $cores in -o out.p1 && sync out.p1|out.p1
pack -1|pigz|pigz -1|pigz -1 -p $cores -c in >out.g1 && sync out.g1|out.g1
pack -1|lz4|lz4 -1|lz4 -q -f -1 in out.l1 && sync out.l1|out.l1
pack -1|bgzip|bgzip -l 1|bgzip -l 1 -@ $cores -c in >out.b1 && sync out.b1|out.b1
pack -1|zeekstd|zeekstd -l 1|zeekstd compress -f -q -l 1 in -o out.s1 && sync out.s1|out.s1
pack -1|qemu-img|qemu-img -c (zstd)|qemu-img convert -f raw -O qcow2 -c -W -m $cores -o compression_type=zstd in out.q1 && sync out.q1|out.q1
pack -3|true|ringpack pack -3|$ringpack pack -q -f -3 in -o out.r3|out.r3
pack -3|zstd|zstd -3 -T$cores|zstd -q -f -3 -T$cores in -o out.z3 && sync out.z3|out.z3
pack -3|pzstd|pzstd -3 -p $cores|pzstd -q -f -3 -p $cores in -o out.p3 && sync out.p3|out.p3
store|true|ringpack pack --store|$ringpack pack -q -f --store in -o out.rs|out.rs
store|cp|cp|cp --reflink=never in out.cp && sync out.cp|out.cp
store|dd|dd direct|dd if=in of=out.dd bs=4M iflag=direct oflag=direct conv=fsync status=none|out.dd
store|fio|fio, reading and writing at once|fio --output=/dev/null --ioengine=io_uring --direct=1 --bs=4M --iodepth=6 --size=${mebibytes}M --name=read --rw=read --filename=in --name=write --rw=write --filename=out.fio --end_fsync=1|out.fio
unpack|true|ringpack unpack|$ringpack unpack -q -f out.r3 -o back.r|back.r
unpack|zstd|zstd -d|zstd -q -d -f out.z3 -o back.z && sync back.z|back.z
unpack|pzstd|pzstd -d|pzstd -q -d -f -p $cores out.p3 -o back.p && sync back.p|back.p
unpack|pigz|pigz -d|pigz -d -c out.g1 >back.g && sync back.g|back.g
unpack|lz4|lz4 -d|lz4 -q -d -f out.l1 back.l && sync back.l|back.l
unpack|bgzip|bgzip -d|bgzip -d -@ $cores -c out.b1 >back.b && sync back.b|back.b
unpack|zeekstd|zeekstd -d|zeekstd decompress -f -q out.s1 -o back.s && sync back.s|back.s
unpack|qemu-img|qemu-img to raw|qemu-img convert -f qcow2 -O raw -W -m $cores out.q1 back.q && sync back.q|back.q
verify|true|ringpack verify|$ringpack verify -q out.r3|
verify|true|ringpack verify --decode|$ringpack verify -q --decode out.r3|
verify|zstd|zstd -t|zstd -q -t out.z3|
verify|pzstd|pzstd -t|pzstd -q -t -p $cores out.p3|
4 KiB|true|ringpack cat|$ringpack cat --offset $((mebibytes << 19)) --length 4K out.r3 >/dev/null|
4 KiB|zeekstd|zeekstd range|zeekstd decompress -q -f --from $((mebibytes << 19)) --to $(((mebibytes << 19) + 4096)) out.s1 -c >/dev/null|
4 KiB|zstd|zstd -d to the place|zstd -q -d -c out.z3 \| tail -c +$(((mebibytes << 19) + 1)) \| head -c 4096 >/dev/null|
END
}

now() { date +%s.%N; }
commands >commands
: >times
while IFS='|' read -r _ tool _; do
    command -v "$tool" >/dev/null || echo "$tool"
done <commands | sort -u | sed 's/^/not here: /' >&2
for round in $(seq 0 "$rounds"); do
    while IFS= read -r line; do
        # An escaped bar is the shell's own.
        IFS=$'\t' read -r job tool name command _ < <(sed 's/\\|/\x01/g; s/|/\t/g; s/\x01/|/g' <<<"$line")
        command -v "$tool" >/dev/null || continue
        echo "round $round of $rounds: $name" >&2
        start=$(now)
        # A reader that ends a pipe early is no failure.
        bash -c "$command" </dev/null || { [ "$job" = "4 KiB" ] || { echo "failed: $command" >&2; exit 1; }; }
        end=$(now)
        # The first round makes what later ones replace, and isn't counted.
        [ "$round" -eq 0 ] || printf '%s\t%s\t%s\n' "$job" "$name" "$(bc <<<"$end - $start")" >>times
    done <commands
done

printf 'job\tcommand\tmedian s\tfastest\tslowest\tMiB left\tto ringpack\n'
while IFS= read -r line; do
    IFS=$'\t' read -r job tool name _ left < <(sed 's/\\|/\x01/g; s/|/\t/g; s/\x01/|/g' <<<"$line")
    command -v "$tool" >/dev/null || continue
    size=-
    [ -n "$left" ] && size=$(($(stat -c %s "$left") >> 20))
    awk -F'\t' -v job="$job" -v name="$name" '$1 == job && $2 == name { print $3 }' times |
        sort -n | awk -v job="$job" -v name="$name" -v size="$size" '
            { t[NR] = $1 }
            END { printf "%s\t%s\t%.3f\t%.3f\t%.3f\t%s\n", job, name, t[int((NR + 1) / 2)], t[1], t[NR], size }'
done <commands | awk -F'\t' '!($1 in ours) { ours[$1] = $3 } { printf "%s\t%.2f\n", $0, $3 / ours[$1] }'
