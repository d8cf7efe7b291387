#!/usr/bin/env bash
# How ringpack compares with public tools, on one disk, with one file, in turn.
#
#   benches/peers.sh FOLDER OUT [FILE] [MEBIBYTES] [ROUNDS]
#
# FILE is what is packed (its first MEBIBYTES); without one, or with '', content is made up. Every
# side's time includes the fsync after which the result is durable, where it leaves one. Each
# command finds its input on the device only, and no output. Prints a Markdown table: for each
# command the median of the rounds in seconds, the fastest and the slowest, processor time, peak
# memory, the size it left, its speed beside ringpack's at the same job, and what it doesn't give;
# OUT gets the same as peers.csv, and a plot of it as peers.svg. A tool that isn't here is named and
# left out.
set -euo pipefail

folder=${1:?usage: peers.sh FOLDER OUT [FILE] [MEBIBYTES] [ROUNDS]}
out=${2:?usage: peers.sh FOLDER OUT [FILE] [MEBIBYTES] [ROUNDS]}
file=${3:-}
mebibytes=${4:-1024}
rounds=${5:-5}
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
built=$root/target/release
ringpack=$built/ringpack

(cd "$root" && cargo build --release --quiet -p ringpack-cli -p ringpack-benches)
mkdir -p "$out"
out=$(cd "$out" && pwd)
[ -z "$file" ] || file=$(realpath "$file")
work=$(mktemp -d "$folder/ringpack-peers.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
cd "$work"
if [ -n "$file" ]; then
    head -c "$((mebibytes << 20))" -- "$file" >in
else
    "$built/bench-content" in "$mebibytes"
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
row "pack -1" zeekstd "zeekstd -1 (the crate)" "out.s1" \
    "$built/bench-zeekstd compress 1 in OUT && sync OUT"
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
row "unpack" zeekstd "zeekstd (the crate)" "back.s" \
    "$built/bench-zeekstd decompress out.s1 OUT && sync OUT"
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
row "4 KiB" zeekstd "zeekstd (the crate)" "" \
    "$built/bench-zeekstd range out.s1 $middle 4096 >/dev/null"
row "4 KiB" zstd "zstd -d to the place" "" \
    "zstd -q -d -c out.z3 | tail -c +$((middle + 1)) | head -c 4096 >/dev/null"

is_here() {
    local tool=${tools[$1]}
    [ "$tool" = zeekstd ] || command -v "$tool" >/dev/null
}

# What a command's result, or the command, doesn't give that ringpack does.
lacks() {
    case $1 in
        *ringpack*) echo "" ;;
        "fio"*) echo "no copy: a measure of the device" ;;
        "cp" | "dd"*) echo "smaller; checksums; whole or not at all; resume" ;;
        "bgzip"*) echo "seek without an index beside it; whole or not at all; durable; resume" ;;
        "zeekstd"*) echo "whole or not at all; durable; resume" ;;
        "qemu-img"*) echo "checksums; whole or not at all; resume" ;;
        *) echo "seek; whole or not at all; durable; resume" ;;
    esac
}

# Nothing of a file in the page cache: what dd(1) documents for it.
evict() {
    local name
    for name in in out.*; do
        [ ! -e "$name" ] || dd of="$name" oflag=nocache conv=notrunc,fdatasync count=0 status=none
    done
}

for number in "${!jobs[@]}"; do
    is_here "$number" || echo "not here: ${tools[$number]}"
done | sort -u >&2
for round in $(seq 0 "$rounds"); do
    for number in "${!jobs[@]}"; do
        is_here "$number" || continue
        [ -z "${lefts[$number]}" ] || rm -f "${lefts[$number]}"
        sync -f .
        evict
        echo "round $round of $rounds: ${names[$number]}" >&2
        if ! "$built/bench-run" told bash -c "${commands[$number]}"; then
            echo "failed: ${commands[$number]}" >&2
            exit 1
        fi
        # The first round makes what later ones read, and isn't counted. What was told is
        # {"wall":S,"cpu":S,"peak":BYTES}.
        [ "$round" -eq 0 ] || awk -F'[:,}]' '{ print $2, $4, $6 }' told >>"times.$number"
    done
done

csv=$out/peers.csv
echo 'job,command,median_s,fastest_s,slowest_s,cpu_s,peak_mib,left_mib,speed,lacks' >"$csv"
for number in "${!jobs[@]}"; do
    is_here "$number" || continue
    left=${lefts[$number]}
    size=
    [ -z "$left" ] || size=$(($(stat -c %s "$left") >> 20))
    sort -g "times.$number" |
        awk -v job="${jobs[$number]}" -v name="${names[$number]}" -v size="$size" \
            -v lacks="$(lacks "${names[$number]}")" '
            { wall[NR] = $1; cpu[NR] = $2; if ($3 > peak) peak = $3 }
            END {
                middle = int((NR + 1) / 2)
                gsub(",", ";", name)
                printf "%s,%s,%.3f,%.3f,%.3f,%.3f,%.0f,%s,", job, name, wall[middle], wall[1], \
                    wall[NR], cpu[middle], peak / 1048576, size
                printf "|%s\n", lacks
            }'
done | awk -F, -v OFS=, '
    !($1 in ours) { ours[$1] = $3 }
    { last = $9; sub(/^\|/, "", last); $9 = sprintf("%.2f", ours[$1] / $3) OFS last; print }' >>"$csv"
awk -F, '
    NR == 1 {
        print "| job | command | median, s | fastest to slowest | processor, s | peak, MiB | left, MiB | speed | it lacks |"
        print "|---|---|---|---|---|---|---|---|---|"
        next
    }
    { printf "| %s | %s | %s | %s to %s | %s | %s | %s | %s | %s |\n", $1, $2, $3, $4, $5, $6, $7, $8, $9, $10 }' "$csv"
"$built/bench-plot" "$csv" "$out/peers.svg"
