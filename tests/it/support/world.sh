#!/usr/bin/env bash
# The tests' own world: an engine, registries with TLS, an S3 server and the ECR API, in network, mount and process
# namespaces of their own. Run by `unshare`; ends, with everything in it, when its standard input ends.
#   world.sh FOLDER TOOLS
set -euo pipefail
world=$1 tools=$2
ecr=123456789012.dkr.ecr.eu-west-1.amazonaws.com
other=registry.test
mkdir -p "$world"/{data,exec,s3,log,ca,registry-ecr,registry-other}
ip link set lo up

# One certificate for both registries, for the engine, and for its clients, of an authority that is trusted for them alone.
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=balehook-tests-ca \
    -keyout "$world/ca/ca-key.pem" -out "$world/ca/ca.pem" 2>/dev/null
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=balehook-tests -CA "$world/ca/ca.pem" -CAkey "$world/ca/ca-key.pem" \
    -addext "subjectAltName=DNS:$ecr,DNS:$other,IP:127.0.0.1" -addext basicConstraints=critical,CA:FALSE \
    -keyout "$world/ca/key.pem" -out "$world/ca/cert.pem" 2>/dev/null
mount -t tmpfs tmpfs /etc/docker 2>/dev/null || { mkdir -p /etc/docker; mount -t tmpfs tmpfs /etc/docker; }
for host in "$ecr" "$other:5443"; do
    mkdir -p "/etc/docker/certs.d/$host"
    cp "$world/ca/ca.pem" "/etc/docker/certs.d/$host/ca.crt"
done
# Not a loopback address: an engine takes registries there for insecure ones and speaks plain HTTP in the end.
ip address add 192.0.2.1/32 dev lo
printf '127.0.0.1 localhost\n192.0.2.1 %s %s\n' "$ecr" "$other" >"$world/hosts"
mount --bind "$world/hosts" /etc/hosts

# The password of the second registry needs the two letters in which base64 and base64url differ.
htpasswd -Bbn AWS 123456789012-auth-token >"$world/ca/ecr.htpasswd"
htpasswd -Bbn team 'p~?>~?>~?>ÿÿ' >"$world/ca/other.htpasswd"
# Their logs say who was asked for what: `calls.rs` reads that of ECR.
registry() { # NAME PORT
    cat >"$world/registry-$1.yml" <<YML
version: 0.1
log: {level: info, formatter: json}
storage: {filesystem: {rootdirectory: $world/registry-$1}, delete: {enabled: true}}
http: {addr: ":$2", tls: {certificate: $world/ca/cert.pem, key: $world/ca/key.pem}}
auth: {htpasswd: {realm: $1, path: $world/ca/$1.htpasswd}}
YML
    docker-registry serve "$world/registry-$1.yml" >"$world/log/registry-$1" 2>&1 &
}
registry ecr 443
registry other 5443

cat >"$world/s3/s3.json" <<'JSON'
{"identities": [{"name": "tests", "credentials": [{"accessKey": "AKIATESTS", "secretKey": "tests-secret"}],
  "actions": ["Admin", "Read", "Write", "List", "Tagging"]}]}
JSON
# weed talks to itself through sockets in /tmp that are named by port alone: two worlds would talk to each other. It gets
# a /tmp of its own, and its data under /mnt. Every bucket takes seven volumes: with too few, the third bucket has none.
s3_server() {
    mount --bind "$1/s3" /mnt
    mount -t tmpfs tmpfs /tmp
    cd /mnt
    exec "$2" server -dir=/mnt -s3 -s3.port=8334 -s3.config=/mnt/s3.json \
        -ip=127.0.0.1 -ip.bind=127.0.0.1 -master.volumeSizeLimitMB=2048 -volume.max=500
}
export -f s3_server
ln "$tools/venv/bin/weed" "$world/s3/weed" 2>/dev/null || cp "$tools/venv/bin/weed" "$world/s3/weed" # target/ may lie under /tmp
unshare --mount bash -c 's3_server "$@"' s3 "$world" /mnt/weed >"$world/log/s3" 2>&1 &
"$tools/venv/bin/moto_server" -H 127.0.0.1 -p 5001 >"$world/log/moto" 2>&1 &

# Which engine: this Debian's, or a newer one unpacked beside it with this Debian's runc.
case ${BALEHOOK_ENGINE:-20.10} in
20.10) features='{}' ;;
26.1) features='{"containerd-snapshotter": false}' PATH=$tools/engine-26/usr/sbin:$tools/engine-26/usr/bin:$PATH ;;
28.5) features='{"containerd-snapshotter": false}' PATH=$tools/engine-28/usr/sbin:$tools/engine-28/usr/bin:$PATH ;;
28.5-containerd) features='{"containerd-snapshotter": true}' PATH=$tools/engine-28/usr/sbin:$tools/engine-28/usr/bin:$PATH ;;
*) echo "BALEHOOK_ENGINE=$BALEHOOK_ENGINE is not known" >&2 && exit 1 ;;
esac
printf '{"features": %s}' "$features" >"$world/daemon.json"
dockerd --config-file "$world/daemon.json" --data-root "$world/data" --exec-root "$world/exec" -p "$world/dockerd.pid" -H "unix://$world/docker.sock" \
    -H tcp://0.0.0.0:2376 --tlsverify --tlscacert "$world/ca/ca.pem" --tlscert "$world/ca/cert.pem" --tlskey "$world/ca/key.pem" \
    --cgroup-parent "/balehook-tests-$(basename "$world")" >"$world/log/dockerd" 2>&1 &
# The reader of this pipe is the test process: when it is gone, so are we, and the kernel ends the rest.
cat >/dev/null || true
