#!/bin/sh
# Installs balehook on a host without deb or rpm, from the tar.gz of `make dist`. As root.
#   install.sh FILE.tar.gz                FILE.tar.gz.sha256 must be beside it
#   install.sh https://…/FILE.tar.gz      both are fetched
#   install.sh --uninstall
# PREFIX=/usr/local is where it goes; units go below /usr/local with any other prefix than /usr. A signature
# (FILE.tar.gz.minisig, FILE.tar.gz.sigstore.json) is checked where there is one and its program is installed; MINISIGN_KEY,
# COSIGN_IDENTITY and COSIGN_ISSUER say whose it must be.
set -eu

prefix=${PREFIX:-/usr/local}
list=$prefix/share/balehook/installed
# systemd finds units below /usr and /usr/local alone.
case $prefix in
/usr | /usr/local) units=$prefix ;;
*) units=/usr/local ;;
esac

say() { printf 'install.sh: %s\n' "$1" >&2; }
fail() { say "$1" && exit 1; }

# Where a file of the archive goes.
place() {
    case $1 in
    lib/*) echo "$units/$1" ;;
    *) echo "$prefix/$1" ;;
    esac
}

uninstall() {
    [ -f "$list" ] || fail "nothing of balehook is installed below $prefix"
    if command -v systemctl >/dev/null; then
        now=
        [ ! -d /run/systemd/system ] || now=--now
        systemctl --quiet disable $now balehook-resume.service balehook-ports.socket balehook-tokens.timer 2>/dev/null || true
    fi
    while read -r file; do
        rm -f "$(place "$file")"
    done <"$list"
    rm -f "$list"
    # Folders of its own, where nothing else was put into them.
    find "$prefix/share/balehook" "$prefix/share/doc/balehook" -depth -type d -exec rmdir {} \; 2>/dev/null || true
    reload
    say "removed; /var/lib/balehook stays"
}

reload() {
    if [ -d /run/systemd/system ]; then systemctl daemon-reload || true; fi
}

fetch() {
    case $1 in
    https://* | http://127.0.0.1:*) curl --fail --silent --show-error --location --output "$2" "$1" ;;
    *://*) fail "$1: https:// or a file" ;;
    *) cp "$1" "$2" ;;
    esac
}

verify() {
    wanted=$(cut -d ' ' -f 1 "$work/sum")
    found=$(sha256sum "$work/archive" | cut -d ' ' -f 1)
    [ -n "$wanted" ] && [ "$wanted" = "$found" ] ||
        fail "$1 has the SHA-256 $found, and $1.sha256 says ${wanted:-nothing}: nothing was installed"
    if [ -n "${MINISIGN_KEY:-}" ]; then
        command -v minisign >/dev/null || fail "MINISIGN_KEY is set, and there is no minisign"
        fetch "$1.minisig" "$work/archive.minisig" || fail "$1.minisig cannot be had"
        minisign -Vqm "$work/archive" -x "$work/archive.minisig" -P "$MINISIGN_KEY" || fail "the signature of $1 is not good"
    fi
    if [ -n "${COSIGN_IDENTITY:-}" ]; then
        command -v cosign >/dev/null || fail "COSIGN_IDENTITY is set, and there is no cosign"
        fetch "$1.sigstore.json" "$work/bundle" || fail "$1.sigstore.json cannot be had"
        cosign verify-blob --bundle "$work/bundle" --certificate-identity "$COSIGN_IDENTITY" \
            --certificate-oidc-issuer "${COSIGN_ISSUER:?}" "$work/archive" || fail "the signature of $1 is not good"
    fi
}

case ${1:-} in
--uninstall) uninstall && exit 0 ;;
'' | -*) sed -n '2,8s/^# \{0,1\}//p' "$0" >&2 && exit 64 ;;
esac
case $(uname -m) in
x86_64 | aarch64) ;;
*) fail "there is no program for $(uname -m)" ;;
esac

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fetch "$1" "$work/archive" || fail "$1 cannot be had"
fetch "$1.sha256" "$work/sum" || fail "$1.sha256 cannot be had: nothing was installed"
verify "$1"
mkdir "$work/tree"
tar -xzf "$work/archive" -C "$work/tree" --strip-components 1
"$work/tree/bin/balehook" --version >"$work/version" 2>&1 || fail "this program cannot run here: $(head -n 1 "$work/version")"
# The units start the program where it is.
sed -i "s,^ExecStart=/usr/bin/,ExecStart=$prefix/bin/," "$work"/tree/lib/systemd/system/*.service
mkdir -p "$prefix/share/balehook"
(cd "$work/tree" && find . -type f | sed 's,^\./,,' | sort) >"$work/list"
# An earlier version's files go, the program last: it may run at this moment.
if [ -f "$list" ]; then
    grep -vxF -f "$work/list" "$list" | while read -r file; do rm -f "$(place "$file")"; done || true
fi
while read -r file; do
    to=$(place "$file")
    mkdir -p "${to%/*}"
    cp -p "$work/tree/$file" "$to.new"
    chown 0:0 "$to.new"
    mv -f "$to.new" "$to"
done <"$work/list"
cp "$work/list" "$list"
if command -v systemd-tmpfiles >/dev/null; then systemd-tmpfiles --create "$units/lib/tmpfiles.d/balehook.conf" || true; fi
reload
say "$("$prefix/bin/balehook" --version) is in $prefix/bin; for the boot unit: systemctl enable balehook-resume.service"
