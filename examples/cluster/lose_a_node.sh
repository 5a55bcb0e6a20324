#!/bin/bash
# A node is killed in the middle of a run: two hosts in network namespaces of this machine, each with its own raylet,
# reachable from nowhere else. Needs root and iproute2; leaves nothing behind. Run it in the environment of bytheway:
#   examples/cluster/lose_a_node.sh
set -euo pipefail
clips=40
out=$(mktemp -d /tmp/bytheway-out-XXXX) temp=$(mktemp -d /tmp/btw-XXXX)
export HOME=$temp RAY_AUTH_MODE=disabled RAY_USAGE_STATS_ENABLED=0 OMP_NUM_THREADS=1
link=btw$$ a=bytheway-a-$$ b=bytheway-b-$$

on() { # HOST COMMAND...
    ip netns exec "$@"
}
end() {
    for host in $a $b; do
        ip netns pids "$host" 2>/dev/null | xargs -r kill -9 2>/dev/null || true
        ip netns del "$host" 2>/dev/null || true
    done
    rm -rf "$temp" "$out"
}
trap end EXIT

ip netns add "$a"
ip netns add "$b"
ip link add "${link}a" type veth peer name "${link}b"
ip link set "${link}a" netns "$a"
ip link set "${link}b" netns "$b"
for side in a b; do
    host=bytheway-$side-$$
    on "$host" ip address add "10.77.0.$([ $side = a ] && echo 1 || echo 2)/24" dev "${link}$side"
    on "$host" ip link set "${link}$side" up
    on "$host" ip link set lo up
done

start=(ray start --num-cpus=1 --object-store-memory=100000000 --disable-usage-stats)
on "$a" "${start[@]}" --head --node-ip-address=10.77.0.1 --port=6379 --include-dashboard=false --temp-dir="$temp/a"
on "$b" "${start[@]}" --address=10.77.0.1:6379 --node-ip-address=10.77.0.2

for number in $(seq $clips); do echo "a red ball rolling to the right on grass $number"; done >"$out/jobs.txt"
on "$a" bytheway batch "$out/jobs.txt" -o "$out/clips" --steps 5 --address 10.77.0.1:6379 --workers 2 2> >(tee "$out/log") &
driver=$!
until grep -q "2 workers" "$out/log"; do
    kill -0 $driver
    sleep 0.2
done
echo "Host b is killed with $(find "$out/clips" -name '*.mp4' | wc -l) of $clips clips there."
ip netns pids "$b" | xargs kill -9
wait $driver
grep "A worker is lost" "$out/log"
made=$(find "$out/clips" -name '*.mp4' | wc -l)
echo "The run has ended well, with $made of $clips clips."
[ "$made" -eq "$clips" ]
