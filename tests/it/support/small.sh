#!/usr/bin/env bash
# A second engine, whose data is on a small disk of its own; ends when its standard input ends.
#   small.sh FOLDER TOOLS ENGINE
set -euo pipefail
folder=$1 tools=$2 engine=$3
mkdir -p "$folder"/{data,exec}
mount -t tmpfs -o size=2g tmpfs "$folder/data"
ip link set lo up
case $engine in
20.10) ;;
26.1) PATH=$tools/engine-26/usr/sbin:$tools/engine-26/usr/bin:$PATH ;;
*) PATH=$tools/engine-28/usr/sbin:$tools/engine-28/usr/bin:$PATH ;;
esac
case $engine in
*-containerd) features='{"containerd-snapshotter": true}' ;;
20.10) features='{}' ;;
*) features='{"containerd-snapshotter": false}' ;;
esac
printf '{"features": %s}' "$features" >"$folder/daemon.json"
dockerd --config-file "$folder/daemon.json" --data-root "$folder/data" --exec-root "$folder/exec" -p "$folder/dockerd.pid" \
    -H "unix://$folder/docker.sock" --iptables=false --bridge=none \
    --cgroup-parent "/balehook-tests-$(basename "$(dirname "$folder")")" >"$folder/dockerd.log" 2>&1 &
cat >/dev/null || true
