#!/usr/bin/env bash
# Several engines, each in network and mount namespaces of its own, on one bridge. Run by `unshare --net --mount --pid`;
# ends, with everything in it, when its standard input ends.
#   cluster.sh FOLDER TOOLS CGROUP COUNT nft|legacy
set -euo pipefail
folder=$1 tools=$2 cgroup=$3 count=$4 iptables=$5
ip link set lo up
ip link add engines type bridge
ip link set engines up
# A bridge hands its frames to iptables, whose policy may be to drop them.
iptables -P FORWARD ACCEPT

case ${BALEHOOK_ENGINE:-20.10} in
20.10) features='{}' ;;
26.1) features='{"containerd-snapshotter": false}' PATH=$tools/engine-26/usr/sbin:$tools/engine-26/usr/bin:$PATH ;;
28.5) features='{"containerd-snapshotter": false}' PATH=$tools/engine-28/usr/sbin:$tools/engine-28/usr/bin:$PATH ;;
28.5-containerd) features='{"containerd-snapshotter": true}' PATH=$tools/engine-28/usr/sbin:$tools/engine-28/usr/bin:$PATH ;;
*) echo "BALEHOOK_ENGINE=$BALEHOOK_ENGINE is not known" >&2 && exit 1 ;;
esac
# The engines find this variant of iptables, their hosts' own is the other. There is a client at the end of the route.
if [ "$iptables" = legacy ]; then
    ip address add 198.51.100.254/24 dev engines
    mkdir "$folder/legacy"
    ln -s /usr/sbin/iptables-legacy "$folder/legacy/iptables"
    ln -s /usr/sbin/ip6tables-legacy "$folder/legacy/ip6tables"
    PATH=$folder/legacy:$PATH
fi
export PATH

# engine NUMBER: runs it, again when it was killed and `start` is asked for.
engine() {
    local home=$folder/$1
    mkdir -p "$home"/{data,exec,run}
    printf '{"features": %s}' "$features" >"$home/daemon.json"
    mount -t tmpfs tmpfs /run/docker 2>/dev/null || { mkdir -p /run/docker; mount -t tmpfs tmpfs /run/docker; }
    hostname "node-$1"
    ip link set lo up
    # Its address comes from outside, once the namespace is there.
    echo $$ >"$home/namespace"
    until ip -4 addr show eth0 2>/dev/null | grep -q inet; do sleep 0.05; done
    while :; do
        rm -f "$home/dockerd.pid"
        dockerd --config-file "$home/daemon.json" --data-root "$home/data" --exec-root "$home/exec" -p "$home/dockerd.pid" \
            -H "unix://$home/docker.sock" --cgroup-parent "/$cgroup/$1" >>"$home/log" 2>&1 || true
        # Killed by a test, alone: what it started lives on.
        if [ -e "$home/crash" ]; then
            rm -f "$home/crash"
            continue
        fi
        # Its containers go with it, as on a host that lost its power.
        kill -KILL -1 2>/dev/null || true
        until [ -e "$home/start" ]; do sleep 0.1; done
        rm -f "$home/start" "$home/exec/containerd/containerd.pid"
    done
}
export -f engine
export folder features cgroup
for number in $(seq "$count"); do
    unshare --net --mount --uts --pid --fork --mount-proc --kill-child=KILL bash -c "engine $number" </dev/null &
    home=$folder/$number
    until [ -s "$home/namespace" ]; do sleep 0.05; done
    # The process in the inner namespace: the only child of unshare.
    outer=$!
    inner=$(cat "/proc/$outer/task/$outer/children")
    ip link add "engine$number" type veth peer name eth0 netns "${inner%% *}"
    ip link set "engine$number" master engines up
    nsenter --net="/proc/${inner%% *}/ns/net" ip link set eth0 up
    nsenter --net="/proc/${inner%% *}/ns/net" ip address add "198.51.100.$number/24" dev eth0
    nsenter --net="/proc/${inner%% *}/ns/net" ip route add default via 198.51.100.254 || true
    echo "${inner%% *}" >"$home/inner"
done
cat >/dev/null || true
