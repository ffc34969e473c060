#!/usr/bin/env bash
# A machine that boots: this Debian's systemd as process 1 in namespaces of its own, with the engine, both firewalls and
# balehook's units. Its disk is a folder, and outlives a loss of power. Run by `unshare --net --mount --pid`, whose network
# is the client's; ends, with everything in it, when its standard input ends.
#   machine.sh FOLDER TOOLS CGROUP BINARY REPOSITORY
# Reads a line for each press of the power button: `on` boots, `off` kills every process at once (what was written stays
# written: that a disk forgets is not tried).
set -euo pipefail
folder=$1 tools=$2 cgroup=$3 binary=$4 repository=$5
disk=$folder/disk boots=0
export disk

# Which engine, with its own units: this Debian's, or a newer one that lies over it.
engine=''
case ${BALEHOOK_ENGINE:-20.10} in
20.10) features='{}' ;;
26.1) features='{"containerd-snapshotter": false}' engine=$tools/engine-26/usr: ;;
28.5) features='{"containerd-snapshotter": false}' engine=$tools/engine-28/usr: ;;
28.5-containerd) features='{"containerd-snapshotter": true}' engine=$tools/engine-28/usr: ;;
*) echo "BALEHOOK_ENGINE=$BALEHOOK_ENGINE is not known" >&2 && exit 1 ;;
esac

# The hierarchies of control groups: in each of them every boot has a group of its own, which is all that it sees.
hierarchies() {
    if [ "$(stat -f -c %T /sys/fs/cgroup)" = cgroup2fs ]; then
        echo /sys/fs/cgroup
    else
        find /sys/fs/cgroup -mindepth 1 -maxdepth 1 -type d
    fi
}

# The disk as an installation leaves it: /usr is this host's with the firewalls and balehook, the rest is made here.
install_disk() {
    mkdir -p "$disk"/{usr,etc,var/{lib/{docker,balehook},log,tmp,cache},run,proc,sys,dev,tmp,root,srv,mnt,home} "$folder/layer/bin"
    chmod 1777 "$disk/tmp" "$disk/var/tmp"
    ln -s usr/bin usr/sbin usr/lib "$disk/"
    [ ! -e /lib64 ] || ln -s usr/lib64 "$disk/"
    ln -s ../run "$disk/var/run"
    install "$binary" "$folder/layer/bin/balehook"
    mkdir -p "$folder/layer/lib/systemd/system" "$folder/layer/lib/tmpfiles.d"
    install -m 644 "$repository"/systemd/*.{service,socket,timer} "$folder/layer/lib/systemd/system/"
    install -m 644 "$repository/systemd/balehook.tmpfiles.conf" "$folder/layer/lib/tmpfiles.d/balehook.conf"
    cp -a "$tools/firewalls/usr/." "$folder/layer/"
    cp -a "$tools/firewalls/lib/." "$folder/layer/lib/"

    cp -a /etc/{passwd,group,nsswitch.conf,alternatives,ld.so.cache,dbus-1,protocols,services} "$disk/etc/"
    cp -a "$tools/firewalls/etc/." "$disk/etc/"
    cp "$tools"/firewalls/usr/share/ufw/iptables/*.rules "$disk/etc/ufw/"
    cp "$tools/firewalls/usr/share/ufw/ufw.conf" "$disk/etc/ufw/"
    echo machine >"$disk/etc/hostname"
    echo '127.0.0.1 localhost machine' >"$disk/etc/hosts"
    tr -d - </proc/sys/kernel/random/uuid >"$disk/etc/machine-id"
    mkdir -p "$disk"/etc/{docker,systemd/system}
    printf '{"features": %s}' "$features" >"$disk/etc/docker/daemon.json"
    # Everything that would reach for the hardware or the kernel, or is of no use here.
    local unit
    for unit in /usr/lib/systemd/system/{sysinit,multi-user,timers,local-fs}.target.wants/*; do
        case ${unit##*/} in
        dbus.service | systemd-journald.service | systemd-tmpfiles-setup.service) ;;
        *) ln -sf /dev/null "$disk/etc/systemd/system/${unit##*/}" ;;
        esac
    done
    for unit in systemd-journald-audit.socket systemd-initctl.socket systemd-logind.service polkit.service \
        systemd-remount-fs.service systemd-udevd.service e2scrub_reap.service; do
        ln -sf /dev/null "$disk/etc/systemd/system/$unit"
    done
    ln -s /lib/systemd/system/multi-user.target "$disk/etc/systemd/system/default.target"
    mount_usr
    systemctl --root="$disk" --quiet enable containerd.service docker.service docker.socket balehook-resume.service
}

mount_usr() {
    mount -t overlay -o "ro,lowerdir=$folder/layer:$engine/usr" overlay "$disk/usr"
}

# From here to systemd, in the machine's own namespaces.
boot() {
    set -euo pipefail
    mount --make-rprivate /
    mount --rbind "$disk" "$disk"
    mount -t proc -o nosuid,nodev,noexec proc "$disk/proc"
    # The kernel's settings are the host's, but for the network's.
    mount --bind "$disk/proc/sys" "$disk/proc/sys"
    mount -o remount,bind,ro "$disk/proc/sys"
    mount -t proc proc "$disk/mnt"
    mount --bind "$disk/mnt/sys/net" "$disk/proc/sys/net"
    umount "$disk/mnt"
    mount -t sysfs -o ro sysfs "$disk/sys"
    [ "$(hierarchies)" = /sys/fs/cgroup ] || mount -t tmpfs -o mode=755 tmpfs "$disk/sys/fs/cgroup"
    local hierarchy
    for hierarchy in $(hierarchies); do
        mkdir -p "$disk$hierarchy"
        case ${hierarchy##*/} in
        cgroup | unified) mount -t cgroup2 cgroup2 "$disk$hierarchy" ;;
        systemd) mount -t cgroup -o none,name=systemd cgroup "$disk$hierarchy" ;;
        *) mount -t cgroup -o "${hierarchy##*/}" cgroup "$disk$hierarchy" ;;
        esac
    done
    mount -t tmpfs -o mode=755 tmpfs "$disk/dev"
    local device
    for device in null zero full random urandom tty; do
        cp -a "/dev/$device" "$disk/dev/"
    done
    mkdir "$disk"/dev/{pts,shm}
    mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts "$disk/dev/pts"
    ln -s pts/ptmx "$disk/dev/ptmx"
    ln -s /proc/self/fd "$disk/dev/fd"
    mount -t tmpfs -o mode=755 tmpfs "$disk/run"
    ip link set lo up
    until ip link set eth0 up 2>/dev/null; do sleep 0.05; done
    ip address add 198.51.100.1/24 dev eth0
    ip route add default via 198.51.100.254
    cd "$disk"
    pivot_root . mnt
    umount -l /mnt
    # The clock and the modules are the host's too.
    exec env -i container=balehook-tests PATH=/usr/sbin:/usr/bin setpriv --bounding-set=-sys_time,-sys_module \
        /lib/systemd/systemd --system --log-target=journal --show-status=no
}
export -f boot hierarchies

power_on() {
    boots=$((boots + 1))
    local hierarchy group
    (
        for hierarchy in $(hierarchies); do
            group=$hierarchy/$cgroup/$boots
            mkdir -p "$group"
            # cpuset's groups begin empty.
            for file in cpuset.cpus cpuset.mems; do
                [ ! -e "$hierarchy/$file" ] || for part in "$(dirname "$(dirname "$group")")" "$(dirname "$group")" "$group"; do
                    [ -n "$(cat "$part/$file")" ] || cat "$hierarchy/$file" >"$part/$file"
                done
            done
            echo 0 >"$group/cgroup.procs"
        done
        exec unshare --net --mount --pid --uts --ipc --cgroup --fork --kill-child=KILL bash -c boot </dev/null
    ) &
    outer=$!
    # Its only child once it is `unshare`, recognised by its network.
    local inner= own
    own=$(readlink /proc/self/ns/net)
    until [ -n "$inner" ] && [ "$(readlink "/proc/$inner/ns/net" || echo "$own")" != "$own" ]; do
        sleep 0.02
        inner=$(cat "/proc/$outer/task/$outer/children")
        inner=${inner%% *}
    done
    ip link add machine type veth peer name eth0 netns "$inner"
    ip address add 198.51.100.254/24 dev machine
    ip link set machine up
    rm -f "$folder/is-off"
    echo "$inner" >"$folder/on.new"
    mv "$folder/on.new" "$folder/is-on"
}

power_off() {
    kill -KILL "$(cat "$folder/is-on")"
    wait "$outer" 2>/dev/null || true
    # With the network namespace its interface goes, and the other end with it; the kernel takes its time.
    while ip link show machine >/dev/null 2>&1; do ip link delete machine 2>/dev/null || true; done
    for hierarchy in $(hierarchies); do
        find "$hierarchy/$cgroup/$boots" -depth -type d -exec rmdir {} + 2>/dev/null || true
    done
    rm "$folder/is-on"
    touch "$folder/is-off"
}

hierarchies | grep -q -e /systemd$ -e /cgroup$ || {
    echo "no control group for systemd: neither cgroup2 on /sys/fs/cgroup nor /sys/fs/cgroup/systemd" >&2
    exit 1
}
ip link set lo up
# One that is there already is booted as it is.
[ -d "$disk" ] || install_disk
while read -r pressed; do
    case $pressed in
    on) power_on ;;
    off) power_off ;;
    esac
done
