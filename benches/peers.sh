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

jobs=() tools=() names=() lefts=() commands=()

# The job, the tool that must be there, what it is called, what it leaves, the command. What it
# leaves stands for OUT in the command. The first of a job is ringpack's.
row() {
    jobs+=("$1") tools+=("$2") names+=("$3") lefts+=("$4") commands+=("${5//OUT/$4}")
}

cores=$(nproc)
middle=$((mebibytes << 19))
row "pack -1" true "ringpack pack -1" "out.r1" \
    "$ringpack pack -q -f -1 in -o OUT"
row "pack -1" zstd "zstd -1 -T$cores" "out.z1" \
    "zstd -q -f -1 -T$cores in -o OUT && sync OUT"
row "pack -1" pzstd "pzstd -1 -p $cores" "out.p1" \
    "pzstd -q -f -1 -p $cores in -o OUT && sync OUT"
row "pack -1" pigz "pigz -1" "out.g1" \
    "pigz -1 -p $cores -c in >OUT && sync OUT"
row "pack -1" lz4 "lz4 -1" "out.l1" \
    "lz4 -q -f -1 in OUT && sync OUT"
row "pack -1" bgzip "bgzip -l 1" "out.b1" \
    "bgzip -l 1 -@ $cores -c in >OUT && sync OUT"
row "pack -1" zeekstd "zeekstd -l 1" "out.s1" \
    "zeekstd compress -f -q -l 1 in -o OUT && sync OUT"
row "pack -1" qemu-img "qemu-img -c (zstd)" "out.q1" \
    "qemu-img convert -f raw -O qcow2 -c -W -m $cores -o compression_type=zstd in OUT && sync OUT"
row "pack -3" true "ringpack pack -3" "out.r3" \
    "$ringpack pack -q -f -3 in -o OUT"
row "pack -3" zstd "zstd -3 -T$cores" "out.z3" \
    "zstd -q -f -3 -T$cores in -o OUT && sync OUT"
row "pack -3" pzstd "pzstd -3 -p $cores" "out.p3" \
    "pzstd -q -f -3 -p $cores in -o OUT && sync OUT"
row "store" true "ringpack pack --store" "out.rs" \
    "$ringpack pack -q -f --store in -o OUT"
row "store" cp "cp" "out.cp" \
    "cp --reflink=never in OUT && sync OUT"
row "store" dd "dd direct" "out.dd" \
    "dd if=in of=OUT bs=4M iflag=direct oflag=direct conv=fsync status=none"
row "store" fio "fio, reading and writing at once" "out.fio" \
    "fio --output=/dev/null --ioengine=io_uring --direct=1 --bs=4M --iodepth=6 --size=${mebibytes}M --name=read --rw=read --filename=in --name=write --rw=write --filename=OUT --end_fsync=1"
row "unpack" true "ringpack unpack" "back.r" \
    "$ringpack unpack -q -f out.r3 -o OUT"
row "unpack" zstd "zstd -d" "back.z" \
    "zstd -q -d -f out.z3 -o OUT && sync OUT"
row "unpack" pzstd "pzstd -d" "back.p" \
    "pzstd -q -d -f -p $cores out.p3 -o OUT && sync OUT"
row "unpack" pigz "pigz -d" "back.g" \
    "pigz -d -c out.g1 >OUT && sync OUT"
row "unpack" lz4 "lz4 -d" "back.l" \
    "lz4 -q -d -f out.l1 OUT && sync OUT"
row "unpack" bgzip "bgzip -d" "back.b" \
    "bgzip -d -@ $cores -c out.b1 >OUT && sync OUT"
row "unpack" zeekstd "zeekstd -d" "back.s" \
    "zeekstd decompress -f -q out.s1 -o OUT && sync OUT"
row "unpack" qemu-img "qemu-img to raw" "back.q" \
    "qemu-img convert -f qcow2 -O raw -W -m $cores out.q1 OUT && sync OUT"
row "verify" true "ringpack verify" "" \
    "$ringpack verify -q out.r3"
row "verify" true "ringpack verify --decode" "" \
    "$ringpack verify -q --decode out.r3"
row "verify" zstd "zstd -t" "" \
    "zstd -q -t out.z3"
row "verify" pzstd "pzstd -t" "" \
    "pzstd -q -t -p $cores out.p3"
row "4 KiB" true "ringpack cat" "" \
    "$ringpack cat --offset $middle --length 4K out.r3 >/dev/null"
row "4 KiB" zeekstd "zeekstd range" "" \
    "zeekstd decompress -q -f --from $middle --to $((middle + 4096)) out.s1 -c >/dev/null"
row "4 KiB" zstd "zstd -d to the place" "" \
    "zstd -q -d -c out.z3 | tail -c +$((middle + 1)) | head -c 4096 >/dev/null"

now() { date +%s.%N; }

is_here() { command -v "${tools[$1]}" >/dev/null; }

for number in "${!jobs[@]}"; do
    is_here "$number" || echo "not here: ${tools[$number]}"
done | sort -u >&2
for round in $(seq 0 "$rounds"); do
    for number in "${!jobs[@]}"; do
        is_here "$number" || continue
        echo "round $round of $rounds: ${names[$number]}" >&2
        start=$(now)
        bash -c "${commands[$number]}" </dev/null
        end=$(now)
        # The first round makes what later ones replace, and isn't counted.
        [ "$round" -eq 0 ] || bc <<<"$end - $start" >>"times.$number"
    done
done

printf 'job\tcommand\tmedian s\tfastest\tslowest\tMiB left\tto ringpack\n'
for number in "${!jobs[@]}"; do
    is_here "$number" || continue
    left=${lefts[$number]}
    size=-
    [ -z "$left" ] || size=$(($(stat -c %s "$left") >> 20))
    sort -n "times.$number" |
        awk -v job="${jobs[$number]}" -v name="${names[$number]}" -v size="$size" '
            { t[NR] = $1 }
            END { printf "%s\t%s\t%.3f\t%.3f\t%.3f\t%s\n", job, name, t[int((NR + 1) / 2)], t[1], t[NR], size }'
done | awk -F'\t' '!($1 in ours) { ours[$1] = $3 } { printf "%s\t%.2f\n", $0, $3 / ours[$1] }'
