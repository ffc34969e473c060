//! What the packages do to a host: installed, upgraded, removed and purged for real, in a copy of this Debian's root.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

/// The packages of one version; the program is this build's own.
struct Packages {
    folder: PathBuf,
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

impl Packages {
    fn pack(folder: &Path, version: &str) -> Self {
        let program = folder.join("program");
        let strip = Command::new("strip").arg("-o").arg(&program).arg(env!("CARGO_BIN_EXE_balehook")).status().unwrap();
        assert!(strip.success());
        let folder = folder.join(version);
        let mut pack = Command::new(repository().join("packaging/pack"));
        pack.arg(&program).arg(std::env::consts::ARCH).arg(&folder);
        let packed = pack.env("VERSION", version).env("SOURCE_DATE_EPOCH", "1700000000").output().unwrap();
        assert!(packed.status.success(), "{}", text(&packed.stderr));
        Self { folder }
    }

    /// The only file with this ending.
    fn file(&self, ending: &str) -> String {
        let files = std::fs::read_dir(&self.folder).unwrap().map(|entry| entry.unwrap().path());
        let mut files: Vec<_> = files.filter(|path| path.to_str().unwrap().ends_with(ending)).collect();
        assert_eq!(files.len(), 1, "{files:?}");
        files.remove(0).display().to_string()
    }
}

/// Version 1.0.0 and 1.1.0.
fn versions() -> &'static (Packages, Packages) {
    static VERSIONS: OnceLock<(Packages, Packages)> = OnceLock::new();
    VERSIONS.get_or_init(|| {
        let folder = repository().join("target/packages");
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        (Packages::pack(&folder, "1.0.0"), Packages::pack(&folder, "1.1.0"))
    })
}

/// Runs a script in a copy of this host's root that ends with it.
fn run(script: &str) -> Output {
    let enter = "
        mount -t tmpfs tmpfs /mnt
        mkdir /mnt/upper /mnt/work /mnt/root
        mount -t overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work overlay /mnt/root
        mount -t proc proc /mnt/root/proc
        mount --bind /dev /mnt/root/dev
        rm -rf /mnt/root/var/lib/balehook /mnt/root/run/systemd
        exec chroot /mnt/root /bin/bash -euo pipefail -c \"$SCRIPT\"";
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--propagation", "private", "bash", "-euo", "pipefail", "-c", enter])
        .env("SCRIPT", script);
    command.output().unwrap()
}

#[track_caller]
fn succeeds(script: &str) -> String {
    let output = run(script);
    let said = text(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", text(&output.stderr));
    said
}

/// What every way of installing leaves, below `/usr` or another prefix.
const FILES: &str = "bin/balehook lib/systemd/system/balehook-resume.service lib/systemd/system/balehook-ports.socket \
                     lib/systemd/system/balehook-tokens.timer lib/tmpfiles.d/balehook.conf share/man/man1/balehook.1.gz \
                     share/bash-completion/completions/balehook share/balehook/hooks/balehook \
                     share/balehook/appspec/container/appspec.yml share/balehook/appspec/compose/app/compose.yml \
                     share/balehook/appspec.schema.json";

#[test]
fn a_deb_is_installed_upgraded_removed_and_purged_and_what_a_person_disabled_stays_so() {
    let (one, two) = versions();
    let (one, two) = (one.file("_amd64.deb"), two.file("_amd64.deb"));
    let said = succeeds(&format!(
        "dpkg --install {one} >/dev/null
         for file in {FILES}; do test -f /usr/$file || echo missing $file; done
         test -x /usr/share/balehook/hooks/balehook
         balehook --version
         dpkg --verify balehook
         systemctl is-enabled balehook-resume.service balehook-ports.socket balehook-tokens.timer || true
         zcat /usr/share/man/man1/balehook.1.gz | grep -c '^.TH balehook'
         stat -c '%a %U' /var/lib/balehook
         systemctl disable --quiet balehook-resume.service
         mkdir -p /var/lib/balehook/web /var/lib/balehook/shop/project
         dpkg --install {two} >/dev/null
         dpkg-query -W -f '${{Version}}\\n' balehook
         systemctl is-enabled balehook-resume.service || true
         dpkg --remove balehook >/dev/null
         ls /usr/bin/balehook /usr/lib/systemd/system/balehook-* 2>/dev/null || echo gone
         ls /var/lib/balehook
         dpkg --purge balehook 2>&1 | grep stays
         ls /var/lib/balehook
         find /etc/systemd /usr -name '*balehook*' -not -path '*/work/*'"
    ));
    let version = format!("balehook {}", env!("CARGO_PKG_VERSION"));
    let shop =
        "balehook: /var/lib/balehook/shop/ stays: containers may have written into /var/lib/balehook/shop/project";
    let wanted = [
        &version, "enabled", "enabled", "disabled", "1", "711 root", "1.1.0-1", "disabled", "gone", "shop", "web",
        shop, "shop",
    ];
    assert_eq!(said.lines().collect::<Vec<_>>(), wanted);
}

#[test]
fn an_rpm_is_installed_upgraded_and_removed_and_the_distributions_presets_say_what_is_enabled() {
    let (one, two) = versions();
    let (one, two) = (one.file(".x86_64.rpm"), two.file(".x86_64.rpm"));
    let said = succeeds(&format!(
        "rpm --initdb
         rpm --install --nodeps {one}
         for file in {FILES}; do test -f /usr/$file || echo missing $file; done
         balehook --version
         rpm --verify --nodeps balehook
         systemctl is-enabled balehook-resume.service balehook-tokens.timer || true
         stat -c '%a %U' /var/lib/balehook
         systemctl disable --quiet balehook-resume.service
         rpm --upgrade --nodeps {two}
         rpm --query balehook
         systemctl is-enabled balehook-resume.service || true
         systemctl enable --quiet balehook-resume.service
         rpm --erase balehook
         ls /usr/bin/balehook 2>/dev/null || echo gone
         find /etc/systemd /usr -name '*balehook*' -not -path '*/work/*'
         ls -d /var/lib/balehook"
    ));
    let version = format!("balehook {}", env!("CARGO_PKG_VERSION"));
    let wanted = [
        &version, "enabled", "disabled", "711 root", "balehook-1.1.0-1.x86_64", "disabled", "gone", "/var/lib/balehook",
    ];
    assert_eq!(said.lines().collect::<Vec<_>>(), wanted);
}

#[test]
fn without_a_package_the_script_installs_upgrades_and_removes_below_any_prefix_and_the_units_start_that_program() {
    let (one, two) = versions();
    let (one, two) = (one.file(".tar.gz"), two.file(".tar.gz"));
    let install = repository().join("packaging/install.sh");
    let install = install.display();
    let said = succeeds(&format!(
        "export PREFIX=/opt/tools
         {install} {one} 2>&1 | tail -n 1
         for file in {FILES}; do test -f /opt/tools/$file || echo missing $file; done
         grep -h ^ExecStart= /opt/tools/lib/systemd/system/balehook-*.service
         touch /opt/tools/share/balehook/mine
         echo share/balehook/old >>/opt/tools/share/balehook/installed
         touch /opt/tools/share/balehook/old
         {install} {two} 2>/dev/null
         ls /opt/tools/share/balehook
         {install} --uninstall 2>&1
         find /opt/tools -type f"
    ));
    let version = env!("CARGO_PKG_VERSION");
    let first = format!(
        "install.sh: balehook {version} is in /opt/tools/bin; for the boot unit: systemctl enable balehook-resume.service"
    );
    let wanted = [
        &first,
        "ExecStart=/opt/tools/bin/balehook resume --ports",
        "ExecStart=/opt/tools/bin/balehook resume",
        "ExecStart=/opt/tools/bin/balehook resume --tokens",
        "appspec",
        "hooks",
        "installed",
        "mine",
        "install.sh: removed; /var/lib/balehook stays",
        "/opt/tools/share/balehook/mine",
    ];
    assert_eq!(said.lines().collect::<Vec<_>>(), wanted);
}

#[test]
fn an_archive_with_another_sum_or_without_one_is_not_installed() {
    let (one, _) = versions();
    let one = one.file(".tar.gz");
    let install = repository().join("packaging/install.sh");
    for (damage, said) in [
        ("echo >>/root/balehook.tar.gz", "balehook.tar.gz.sha256 says "),
        ("rm /root/balehook.tar.gz.sha256", "balehook.tar.gz.sha256 cannot be had"),
        ("export MINISIGN_KEY=RWQ", "there is no minisign"),
        ("export COSIGN_IDENTITY=a@b", "there is no cosign"),
    ] {
        let output = run(&format!(
            "cp {one} /root/balehook.tar.gz
             cp {one}.sha256 /root/balehook.tar.gz.sha256
             {damage}
             {} /root/balehook.tar.gz && exit 9
             test ! -e /usr/local/bin/balehook",
            install.display()
        ));
        let error = text(&output.stderr);
        assert!(output.status.success() && error.contains(said), "{damage}: {:?} {error}", output.status);
    }
}

#[test]
fn the_same_program_packed_twice_is_the_same_bytes() {
    let (one, _) = versions();
    let folder = tempfile::tempdir().unwrap();
    let again = Packages::pack(folder.path(), "1.0.0");
    for ending in ["_amd64.deb", ".x86_64.rpm", ".tar.gz"] {
        let (one, again) = (std::fs::read(one.file(ending)).unwrap(), std::fs::read(again.file(ending)).unwrap());
        assert!(one == again, "{ending}: {} and {} bytes", one.len(), again.len());
    }
}
