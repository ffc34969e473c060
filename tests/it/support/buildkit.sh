#!/usr/bin/env bash
# Archives by BuildKit: the one in Docker 28 with the containerd store, in namespaces of its own.
#   buildkit.sh FOLDER TOOLS NAME: of the build context FOLDER/context makes FOLDER/{docker,oci,zstd,platforms}.tar
set -euo pipefail
folder=$1 tools=$2 name=$3
ip link set lo up
PATH=$tools/engine-28/usr/sbin:$tools/engine-28/usr/bin:$PATH
printf '{"features": {"containerd-snapshotter": true}}' >"$folder/daemon.json"
dockerd --config-file "$folder/daemon.json" --data-root "$folder/data" --exec-root "$folder/exec" -p "$folder/dockerd.pid" \
    -H "unix://$folder/docker.sock" --iptables=false --bridge=none >"$folder/dockerd.log" 2>&1 &
export DOCKER_HOST=unix://$folder/docker.sock DOCKER_CONFIG=$folder/config
mkdir -p "$DOCKER_CONFIG/cli-plugins"
ln -s "$tools/bin/docker-buildx" "$DOCKER_CONFIG/cli-plugins/"
for _ in $(seq 200); do
    docker version >/dev/null 2>&1 && break
    sleep 0.1
done
build() { docker buildx build --quiet --tag "$name:one" "$@" "$folder/context"; }
build --output "type=docker,dest=$folder/docker.tar"
build --output "type=oci,dest=$folder/oci.tar"
build --output "type=oci,dest=$folder/zstd.tar,compression=zstd,force-compression=true"
# An index in the index, and attestations beside the images.
build --platform linux/arm64,linux/amd64 --provenance=mode=max --output "type=oci,dest=$folder/platforms.tar"
