//! The pictures are drawn from texts, and the texts are what the program printed.

use std::process::Command;

use crate::repository;

/// What `check` prints of a wrong file, as a picture's text.
#[test]
fn the_picture_of_check_is_what_it_prints_of_its_golden_file() {
    let folder = repository().join("docs/pictures");
    let bundle = tempfile::tempdir().unwrap();
    std::fs::create_dir(bundle.path().join("hooks")).unwrap();
    std::fs::copy(repository().join("hooks/balehook"), bundle.path().join("hooks/balehook")).unwrap();
    std::fs::copy(folder.join("wrong.yml"), bundle.path().join("appspec.yml")).unwrap();
    std::fs::write(bundle.path().join("image.tar"), "").unwrap();
    let mut check = Command::new(env!("CARGO_BIN_EXE_balehook"));
    let output = check.arg("check").env_clear().current_dir(bundle.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    let printed = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    let title = "What check prints: every problem of the file at once, with its place";
    let picture = format!("{title}\nterminal\n$ balehook check\n{printed}");
    if std::env::var_os("BALEHOOK_GOLDEN").is_some() {
        std::fs::write(folder.join("check.txt"), &picture).unwrap();
    }
    let text = std::fs::read_to_string(folder.join("check.txt")).unwrap_or_default();
    assert_eq!(text, picture, "make pictures");
}

#[test]
fn every_picture_is_drawn_from_its_text() {
    let draw = Command::new("python3").arg(repository().join("docs/pictures/draw")).arg("--check").output().unwrap();
    assert!(draw.status.success(), "{}", String::from_utf8_lossy(&draw.stderr));
}
