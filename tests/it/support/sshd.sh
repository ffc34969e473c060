#!/usr/bin/env bash
# An ssh server with keys of its own; its sessions find docker's CLI, and that the engine at SOCKET. Ends when its standard
# input does. Runs in the world's network and mounts, where root's own ~/.ssh is hidden.
#   sshd.sh FOLDER PORT SOCKET
set -euo pipefail
folder=$1 port=$2 socket=$3
mkdir -p /run/sshd /root/.ssh
mountpoint -q /root/.ssh || mount -t tmpfs -o mode=700 tmpfs /root/.ssh
for key in host user; do ssh-keygen -q -t ed25519 -N '' -f "$folder/$key"; done
printf '%s\n' "Port $port" 'ListenAddress 127.0.0.1' "HostKey $folder/host" "AuthorizedKeysFile $folder/user.pub" \
    'StrictModes no' 'UsePAM no' 'PasswordAuthentication no' 'KbdInteractiveAuthentication no' 'PermitRootLogin prohibit-password' 'LogLevel VERBOSE' 'PidFile none' \
    "SetEnv PATH=/usr/sbin:/usr/bin:/sbin:/bin DOCKER_HOST=unix://$socket" >"$folder/sshd_config"
# The test may kill this script, which runs no trap then.
setpriv --pdeathsig KILL /usr/sbin/sshd -D -e -f "$folder/sshd_config" </dev/null &
trap 'kill $!' EXIT
cat >/dev/null
