//! What the packages do to a host: installed, upgraded, removed and purged for real, in a copy of this Debian's root.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

#[allow(dead_code, reason = "tests/docs reads more of the pages")]
#[path = "docs/book.rs"]
mod book;

use book::{pages, repository};

/// The packages of one version; the program is this build's own.
struct Packages {
    folder: PathBuf,
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The processor that the packages are for: this host's, or that of BALEHOOK_PROGRAM (`make dist-check`).
fn machine() -> String {
    std::env::var("BALEHOOK_MACHINE").unwrap_or_else(|_| std::env::consts::ARCH.to_owned())
}

impl Packages {
    fn pack(folder: &Path, version: &str) -> Self {
        let (program, own) = (folder.join("program"), env!("CARGO_BIN_EXE_balehook"));
        match std::env::var_os("BALEHOOK_PROGRAM") {
            Some(other) => drop(std::fs::copy(other, &program).unwrap()),
            None => assert!(Command::new("strip").arg("-o").arg(&program).arg(own).status().unwrap().success()),
        }
        let folder = folder.join(version);
        let mut pack = Command::new(repository().join("packaging/pack"));
        // What the manual page says is the same on every processor.
        pack.arg(&program).arg(machine()).arg(&folder).arg(own);
        let packed = pack.env("VERSION", version).env("SOURCE_DATE_EPOCH", "1700000000").output().unwrap();
        assert!(packed.status.success(), "{}", text(&packed.stderr));
        Self { folder }
    }

    fn deb(&self) -> String {
        self.file(if machine() == "aarch64" { "_arm64.deb" } else { "_amd64.deb" })
    }

    fn rpm(&self) -> String {
        self.file(&format!(".{}.rpm", machine()))
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

/// Runs a script in a copy of a root that ends with it: this host's, or the one that `make fresh-host` names.
fn run(script: &str) -> Output {
    let enter = "
        mount -t tmpfs tmpfs /mnt
        mkdir /mnt/upper /mnt/work /mnt/root
        mount -t overlay -o lowerdir=$LOWER,upperdir=/mnt/upper,workdir=/mnt/work overlay /mnt/root
        mkdir -p /mnt/root$REPOSITORY
        mount --bind $REPOSITORY /mnt/root$REPOSITORY
        mount -o remount,bind,ro /mnt/root$REPOSITORY
        mount -t proc proc /mnt/root/proc
        mount --bind /dev /mnt/root/dev
        rm -rf /mnt/root/var/lib/balehook /mnt/root/run/systemd
        # The index of all manual pages costs more than everything else here.
        rm -f /mnt/root/var/lib/man-db/auto-update
        exec chroot /mnt/root /bin/bash -euo pipefail -c \"$SCRIPT\"";
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--propagation", "private", "bash", "-euo", "pipefail", "-c", enter])
        .env("LOWER", std::env::var_os("BALEHOOK_ROOT").unwrap_or_else(|| "/".into()))
        .env("REPOSITORY", repository())
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
                     share/balehook/ci/deploy.sh share/balehook/appspec/container/appspec.yml share/balehook/appspec/compose/app/compose.yml \
                     share/balehook/appspec.schema.json share/balehook/schemas/status.schema.json";

#[test]
fn a_deb_is_installed_upgraded_removed_and_purged_and_what_a_person_disabled_stays_so() {
    let (one, two) = versions();
    let (one, two) = (one.deb(), two.deb());
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
    let (one, two) = (one.rpm(), two.rpm());
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
    let second = format!("balehook-1.1.0-1.{}", machine());
    let wanted = [&version, "enabled", "disabled", "711 root", &second, "disabled", "gone", "/var/lib/balehook"];
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
         for file in {FILES}; do test -f /opt/tools/$file || test -f /usr/local/$file || echo missing $file; done
         grep -h ^ExecStart= /usr/local/lib/systemd/system/balehook-*.service
         systemctl enable --quiet balehook-resume.service
         systemctl is-enabled balehook-resume.service balehook-ports.socket
         systemd-analyze verify --man=no balehook-resume.service balehook-tokens.timer
         touch /opt/tools/share/balehook/mine
         echo share/balehook/old >>/opt/tools/share/balehook/installed
         touch /opt/tools/share/balehook/old
         {install} {two} 2>/dev/null
         ls /opt/tools/share/balehook
         {install} --uninstall 2>&1
         find /opt/tools /usr/local /etc/systemd -not -type d -path '*/tools/*' -o -name 'balehook-*'"
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
        "enabled",
        "enabled",
        "appspec",
        "appspec.schema.json",
        "ci",
        "hooks",
        "installed",
        "mine",
        "schemas",
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
        ("rm /usr/bin/minisign; export MINISIGN_KEY=RWQ", "there is no minisign"),
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

/// A folder with an archive, its sum and a signature, and the public key that it was signed with.
fn signed(folder: &Path) -> String {
    let (one, _) = versions();
    let one = one.file(".tar.gz");
    let make = format!(
        "cp {one} balehook.tar.gz && sha256sum balehook.tar.gz | tee balehook.tar.gz.sha256 >SHA256SUMS
         minisign -G -W -p key.pub -s key.secret >/dev/null
         minisign -G -W -p other.pub -s other.secret >/dev/null
         MINISIGN_SECRET_KEY=$PWD/key.secret {} . >/dev/null
         tail -n 1 key.pub other.pub --quiet",
        repository().join("packaging/sign").display()
    );
    let made = Command::new("bash").args(["-euo", "pipefail", "-c", &make]).current_dir(folder).output().unwrap();
    assert!(made.status.success(), "{}", text(&made.stderr));
    text(&made.stdout)
}

#[test]
fn a_signed_archive_is_installed_and_one_that_was_changed_or_signed_by_another_key_is_not() {
    let folder = tempfile::tempdir_in(repository().join("target")).unwrap();
    let keys = signed(folder.path());
    let (key, other) = keys.trim().split_once('\n').unwrap();
    let install = repository().join("packaging/install.sh");
    let install = install.display();
    let copy = format!("cp -r {} /root/signed; cd /root/signed", folder.path().display());
    // Whoever changes the archive can change its sum too.
    let changed = "echo >>balehook.tar.gz && sha256sum balehook.tar.gz >balehook.tar.gz.sha256";
    let said = "the signature of balehook.tar.gz is not good";
    for (key, damage, said) in [
        (other, "true", said),
        (key, changed, said),
        (key, "cp SHA256SUMS.minisig balehook.tar.gz.minisig", said),
        (key, "sed -i 's/^trusted comment: .*/trusted comment: newer/' balehook.tar.gz.minisig", said),
        (key, "rm balehook.tar.gz.minisig", "balehook.tar.gz.minisig cannot be had"),
    ] {
        let output = run(&format!(
            "{copy}
             export MINISIGN_KEY={key}
             {damage}
             {install} balehook.tar.gz && exit 9
             test ! -e /usr/local/bin/balehook"
        ));
        let error = text(&output.stderr);
        assert!(output.status.success() && error.contains(said), "{damage}: {:?} {error}", output.status);
    }
    let good = succeeds(&format!(
        "{copy}
         export MINISIGN_KEY={key}
         {install} balehook.tar.gz 2>/dev/null
         /usr/local/bin/balehook --version
         {install} --uninstall 2>&1
         ls /usr/local/bin/balehook 2>/dev/null || echo gone"
    ));
    let version = format!("balehook {}", env!("CARGO_PKG_VERSION"));
    assert_eq!(good.lines().collect::<Vec<_>>(), [&version, "install.sh: removed; /var/lib/balehook stays", "gone"]);
}

/// `demo-program` in a tree with these files, where neither Rust nor balehook is installed: exit code, standard output and error.
fn demo_program(tree: &Path, argument: &str) -> (Option<i32>, String, String) {
    let (script, tools) = (tree.join("packaging/dev/demo-program"), tree.join("tools"));
    let lay = format!(
        "mkdir -p packaging/dev src tools && cp {} packaging/dev && touch -d 2026-01-02 Cargo.toml Cargo.lock src/lib.rs src
         for tool in bash dirname find gzip head ls mkdir tar uname; do ln -sf $(command -v $tool) tools/$tool; done",
        repository().join("packaging/dev/demo-program").display()
    );
    let laid = Command::new("bash").args(["-euo", "pipefail", "-c", &lay]).current_dir(tree).output().unwrap();
    assert!(laid.status.success(), "{}", text(&laid.stderr));
    let output = Command::new(script).arg(argument).env("PATH", tools).output().unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn the_demo_takes_the_program_it_is_given_or_that_of_make_dist_unless_a_source_is_newer() {
    let folder = tempfile::tempdir().unwrap();
    let (given, none) = ("/bin/true", "demo: there is no Rust to build the program with: install Rust");
    assert_eq!(demo_program(folder.path(), given), (Some(0), format!("{given}\n"), String::new()));
    let missing = demo_program(folder.path(), "/nowhere/balehook");
    assert_eq!(missing, (Some(1), String::new(), "demo: /nowhere/balehook is no program\n".to_owned()));
    let (code, said, error) = demo_program(folder.path(), "");
    assert!(code == Some(1) && said.is_empty() && error.starts_with(none), "{code:?} {said} {error}");

    let archive = format!("target/dist/balehook-0.1.0-{}-linux.tar.gz", std::env::consts::ARCH);
    let pack = format!(
        "mkdir -p name/bin target/dist && echo prebuilt >name/bin/balehook && tar -czf {archive} name && touch -d 2026-01-03 {archive}"
    );
    let packed =
        Command::new("bash").args(["-euo", "pipefail", "-c", &pack]).current_dir(folder.path()).output().unwrap();
    assert!(packed.status.success(), "{}", text(&packed.stderr));
    let taken = demo_program(folder.path(), "");
    let said = format!("demo: taking the program of {archive}\n");
    assert_eq!(taken, (Some(0), "target/demo/bin/balehook\n".to_owned(), said));
    assert_eq!(std::fs::read_to_string(folder.path().join("target/demo/bin/balehook")).unwrap(), "prebuilt\n");

    let touched = Command::new("touch").args(["-d", "2026-01-01"]).arg(folder.path().join(&archive)).status().unwrap();
    assert!(touched.success());
    let (code, said, error) = demo_program(folder.path(), "");
    assert!(code == Some(1) && said.is_empty() && error.starts_with(none), "{code:?} {said} {error}");
}

/// Name and version of every package that is compiled for the packaged program, as cargo itself says.
fn dependencies() -> Vec<(String, String)> {
    let target = format!("{}-unknown-linux-musl", std::env::consts::ARCH);
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["tree", "--locked", "--edges", "normal", "--prefix", "none", "--format", "{p}", "--target", &target]);
    let tree = cargo.current_dir(repository()).output().unwrap();
    assert!(tree.status.success(), "{}", text(&tree.stderr));
    let tree = text(&tree.stdout);
    let mut words: Vec<_> = tree.lines().map(|line| line.split(' ').take(2).collect::<Vec<_>>()).collect();
    words.sort();
    words.dedup();
    let found: Vec<_> = words.iter().map(|words| (words[0].to_owned(), words[1][1..].to_owned())).collect();
    found.into_iter().filter(|(name, _)| name != env!("CARGO_PKG_NAME")).collect()
}

/// Words of the licences of what is no crate, or is within one.
const NOTICES: [&str; 6] = [
    "Copyright (C) The XZ Utils authors and contributors",
    "Copyright (c) Meta Platforms, Inc. and affiliates",
    "Julian Seward",
    "musl as a whole is licensed under the following standard MIT license",
    "Copyrights in the Rust Standard Library are retained by their contributors",
    "Copyright (c) Zig contributors",
];

#[test]
fn every_package_has_the_licence_texts_of_all_that_the_program_is_made_of() {
    let (one, _) = versions();
    let (deb, rpm, tar) = (one.deb(), one.rpm(), one.file(".tar.gz"));
    let folder = tempfile::tempdir().unwrap();
    let extract = format!(
        "dpkg-deb --fsys-tarfile {deb} | tar -xO ./usr/share/doc/balehook/THIRD-PARTY.txt >deb
         mkdir tar && tar -xzf {tar} -C tar --strip-components 1 && mv tar/share/doc/balehook/THIRD-PARTY.txt tar.txt
         cmp deb tar.txt && test -s tar/share/doc/balehook/LICENSE-MIT && test -s tar/share/doc/balehook/LICENSE-APACHE
         rpm --query --list --package {rpm} | grep -c 'doc/balehook/\\(THIRD-PARTY.txt\\|LICENSE-MIT\\|LICENSE-APACHE\\)$'"
    );
    let extracted =
        Command::new("bash").args(["-euo", "pipefail", "-c", &extract]).current_dir(folder.path()).output().unwrap();
    assert!(extracted.status.success(), "{}", text(&extracted.stderr));
    assert_eq!(text(&extracted.stdout), "3\n");

    let written = std::fs::read_to_string(folder.path().join("deb")).unwrap();
    let lines: Vec<_> = written.lines().collect();
    for (name, version) in dependencies() {
        let start = format!("{name} {version}: ");
        let line =
            lines.iter().find(|line| line.starts_with(&start)).unwrap_or_else(|| panic!("no licence of {start}"));
        let numbers: Vec<_> = line.rsplit_once("; ").unwrap().1.split(", ").collect();
        assert!(!numbers.is_empty(), "{line}");
        for number in numbers {
            let at = lines.iter().position(|line| line == &number);
            let at = at.unwrap_or_else(|| panic!("{line}: the text {number} is not there"));
            assert!(lines[at + 1].is_empty() && lines[at + 2].len() > 3, "{number}: {:?}", &lines[at..at + 3]);
        }
    }
    for notice in NOTICES {
        assert!(written.contains(notice), "{notice}");
    }
}

#[test]
fn the_sbom_is_valid_cyclonedx_and_names_the_program_and_every_dependency() {
    let (one, _) = versions();
    let file = one.file(".cdx.json");
    let script = "import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
sys.exit(str(JsonStrictValidator(SchemaVersion.V1_6).validate_str(open(sys.argv[1]).read()) or '') or 0)";
    let mut python = Command::new(repository().join("target/tools/venv/bin/python"));
    let valid = python.args(["-c", script, &file]).output().unwrap();
    assert!(valid.status.success(), "{}", text(&valid.stderr));

    let sbom: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let program = one.folder.parent().unwrap().join("program");
    let sum = text(&Command::new("sha256sum").arg(&program).output().unwrap().stdout);
    let main = &sbom["metadata"]["component"];
    assert_eq!(main["hashes"][0]["content"], sum.split(' ').next().unwrap());
    assert_eq!(main["name"], "balehook");
    assert_eq!(sbom["metadata"]["timestamp"], "2023-11-14T22:13:20Z");

    let components = sbom["components"].as_array().unwrap();
    let is_crate =
        |found: &&serde_json::Value| found["purl"].as_str().is_some_and(|purl| purl.starts_with("pkg:cargo/"));
    let named = |found: &serde_json::Value| {
        assert_eq!(found["hashes"][0]["content"].as_str().unwrap().len(), 64, "{found}");
        (found["name"].as_str().unwrap().to_owned(), found["version"].as_str().unwrap().to_owned())
    };
    let mut crates: Vec<_> = components.iter().filter(is_crate).map(named).collect();
    crates.sort();
    assert_eq!(crates, dependencies());
    let others = components.iter().filter(|found| !is_crate(found)).map(|found| found["name"].as_str().unwrap());
    assert_eq!(others.collect::<Vec<_>>(), ["rust-std", "musl", "llvm-libunwind", "zig-compiler-rt"]);
    let inner = components.iter().filter_map(|found| found["components"][0]["name"].as_str());
    assert_eq!(inner.collect::<Vec<_>>(), ["aws-lc", "xz", "zstd"]);
}

#[test]
fn the_same_program_packed_twice_is_the_same_bytes() {
    let (one, _) = versions();
    let folder = tempfile::tempdir().unwrap();
    let again = Packages::pack(folder.path(), "1.0.0");
    for ending in ["_amd64.deb", ".x86_64.rpm", ".tar.gz", ".cdx.json"] {
        let (one, again) = (std::fs::read(one.file(ending)).unwrap(), std::fs::read(again.file(ending)).unwrap());
        assert!(one == again, "{ending}: {} and {} bytes", one.len(), again.len());
    }
}

/// A person's root and repository: what is built lies where the pages name it, in this version's names. `make dist` packs for minutes;
/// here it ends as packaging/dist does.
const A_PERSON: &str = r#"
    mkdir -p /root/there/target/dist /root/there/packaging /srv/bin
    cd /root/there
    for file in $PACKAGES/*; do cp $file target/dist/$(basename $file | sed "s/1\.0\.0/$VERSION/"); done
    ln -s $REPOSITORY/packaging/install.sh packaging/install.sh
    ln -s target/dist/*.deb .
    (cd target/dist && sha256sum -- *.deb *.rpm *.tar.gz *.cdx.json >SHA256SUMS)
    id ubuntu >/dev/null 2>&1 || useradd ubuntu
    getent group docker >/dev/null || groupadd docker
    rpm --initdb
    cat >/srv/bin/sudo <<'END'
#!/bin/bash
# This root is Debian's: its rpm knows of no package that rpm did not install.
if [ $1 = rpm ]; then set -- "$@" --nodeps; fi
exec env "$@"
END
    cat >/srv/bin/make <<'END'
#!/bin/bash
[ "$*" = dist ] && exec $REPOSITORY/packaging/sign target/dist
END
    cat >/srv/bin/minisign <<'END'
#!/bin/bash
# A person types the password of the key, twice where it is new.
printf 'password\npassword\n' | /usr/bin/minisign "$@"
END
    chmod 755 /srv/bin/*
    PATH=/srv/bin:$PATH"#;

/// What shows that a command did what its page says, and what that prints.
fn shown(line: &str) -> (&'static str, String) {
    let version = env!("CARGO_PKG_VERSION");
    let program = format!("balehook {version}\n");
    match line {
        "make dist" => ("ls target/dist/*.deb | wc -l", "1\n".into()),
        line if line.contains("dpkg --install") => {
            ("dpkg-query -W -f '${Status}\n' balehook; balehook --version", format!("install ok installed\n{program}"))
        }
        line if line.contains("rpm --install") => (
            "rpm --query --queryformat '%{NAME}\n' balehook; /usr/bin/balehook --version",
            format!("balehook\n{program}"),
        ),
        line if line.ends_with(".tar.gz") => ("/usr/local/bin/balehook --version", program),
        line if line.ends_with("--uninstall") => {
            ("ls /usr/local/bin/balehook 2>/dev/null || echo gone", "gone\n".into())
        }
        line if line.contains("systemctl enable") => {
            ("systemctl is-enabled balehook-resume.service", "enabled\n".into())
        }
        line if line.starts_with("cp --recursive") => {
            ("ls appspec.yml hooks/balehook", "appspec.yml\nhooks/balehook\n".into())
        }
        line if line.starts_with("minisign -G") => ("ls *.pub *.key", "balehook.key\nbalehook.pub\n".into()),
        line if line.ends_with(" make dist") => ("ls target/dist | grep -c minisig$", "2\n".into()),
        line if line.starts_with("minisign -V") => ("true", String::new()),
        line if line.starts_with("sha256sum") => ("true", String::new()),
        line if line.starts_with("install -d") => ("stat -c '%U %a' /var/lib/balehook/web", "ubuntu 700\n".into()),
        line if line.starts_with("usermod") => ("id -nG ubuntu | grep -cw docker", "1\n".into()),
        line => panic!("what `{line}` does is not looked at"),
    }
}

#[test]
fn every_command_of_the_pages_that_installs_does_what_it_says_from_page_to_page() {
    let (one, _) = versions();
    let blocks = |page: &book::Page| page.blocks().filter(|block| block.mark == "sh,root").collect::<Vec<_>>();
    let mut count = 0;
    for (page, blocks) in pages().iter().map(|page| (&page.name, blocks(page))).filter(|(_, blocks)| !blocks.is_empty())
    {
        // What one block made, the next one of the page may need. Only packages are installed once.
        let (mut script, mut wanted) = (A_PERSON.to_owned(), String::new());
        for block in blocks {
            script += "\ndpkg --purge balehook >/dev/null 2>&1 || true; rpm --erase balehook >/dev/null 2>&1 || true\n";
            // The engine's part of it: `docs_commands::`.
            for line in block.lines().into_iter().filter(|line| !line.starts_with("sudo balehook ")) {
                let (look, prints) = shown(&line);
                let at = format!("{page}:{}: {line}\n", block.line);
                script += &format!(
                    "cat <<'END'\n{at}END\n{{ {line}\n}} >/tmp/said 2>&1 || {{ cat /tmp/said; exit 1; }}\n{look}\n"
                );
                wanted += &(at + &prints);
                count += 1;
            }
        }
        let script = format!(
            "export PACKAGES={} REPOSITORY={} VERSION={}\n{script}",
            one.folder.display(),
            repository().display(),
            env!("CARGO_PKG_VERSION")
        );
        assert_eq!(succeeds(&script), wanted);
    }
    assert!(count > 15, "{count}");
}
