//! `init`: a revision to begin with: the ready-made one of a mode, or one around a Compose file.

mod compose;

use std::path::Path;

use crate::app::revision::{self, NewFile};
use crate::app::say;
use crate::cli::{InitArgs, InitMode};
use crate::error::{Failure, Kind};
use crate::ui::text::Console;

/// What is deployed where no image is named: public, small, and with a shell, which the Compose file's task needs.
const IMAGE: &str = "nginx:1.28.0-alpine";

/// The ready-made revisions: what the packages install and the tests deploy.
const CONTAINER: &[(&str, &str)] = &[("appspec.yml", include_str!("../../../appspec/container/appspec.yml"))];

const COMPOSE: &[(&str, &str)] = &[
    ("appspec.yml", include_str!("../../../appspec/compose/appspec.yml")),
    ("app/compose.yml", include_str!("../../../appspec/compose/app/compose.yml")),
    ("app/.env", include_str!("../../../appspec/compose/app/.env")),
    ("app/conf/motd", include_str!("../../../appspec/compose/app/conf/motd")),
];

const SWARM: &[(&str, &str)] = &[
    ("appspec.yml", include_str!("../../../appspec/swarm/appspec.yml")),
    ("conf/motd", include_str!("../../../appspec/swarm/conf/motd")),
];

/// A revision, and what a person has to know or do.
#[derive(Default)]
struct Revision {
    files: Vec<NewFile>,
    notes: Vec<String>,
}

pub(crate) fn init(args: &InitArgs) -> u8 {
    let revision = match (&args.from_compose, args.mode) {
        (Some(file), None | Some(InitMode::Compose)) => compose::around(file, &args.output),
        (Some(_), Some(_)) => {
            Err(Failure::new(Kind::Usage, "--from-compose makes a revision for Compose mode alone".to_owned()))
        }
        (None, mode) => ready_made(mode.unwrap_or(InitMode::Container), args.image.as_deref()),
    };
    let written = revision.and_then(|revision| {
        revision::write(&args.output, &revision.files)?;
        Ok(revision)
    });
    match written {
        Ok(revision) => {
            tell(&args.output, &revision);
            0
        }
        Err(failure) => say(&failure),
    }
}

fn tell(folder: &Path, revision: &Revision) {
    let wrote = revision.files.iter().map(|file| format!("wrote {}\n", folder.join(&file.path).display()));
    let notes = revision.notes.iter().map(|note| format!("note: {note}\n"));
    let at = if folder == Path::new(".") { String::new() } else { format!(" {}", folder.display()) };
    let next = format!("next: `balehook check{at}`, and `balehook plan` in that folder\n");
    Console::stdout().page(&wrote.chain(notes).chain([next]).collect::<String>());
}

fn ready_made(mode: InitMode, image: Option<&str>) -> Result<Revision, Failure> {
    let files = match mode {
        InitMode::Container => CONTAINER,
        InitMode::Compose => COMPOSE,
        InitMode::Swarm => SWARM,
    };
    if image.is_some_and(|image| image.is_empty() || !image.chars().all(is_of_an_image)) {
        return Err(Failure::new(Kind::Usage, "--image is no image".to_owned())
            .next("write host/name:tag, the path of an archive in the bundle, or s3://bucket/key"));
    }
    let written = files.iter().map(|(path, text)| NewFile::new(*path, adapted(text, image)));
    let notes = match image {
        None => vec![format!("{IMAGE} is an example that can be deployed: put your image in its place")],
        Some(image) if is_archive(image) && !image.starts_with("s3://") => {
            vec![format!("the image must lie in the bundle: docker save --output {image} IMAGE")]
        }
        Some(_) => vec!["ports and health are those of the example: put yours in their place".to_owned()],
    };
    Ok(Revision { files: written.chain([NewFile::shim()]).collect(), notes })
}

/// What needs no quotes in YAML.
fn is_of_an_image(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || "/:.@_-+?=".contains(letter)
}

fn is_archive(image: &str) -> bool {
    let endings = [".tar", ".tar.gz", ".tgz", ".tar.zst", ".tar.xz", ".tar.bz2"];
    image.starts_with("s3://") || endings.iter().any(|ending| image.ends_with(ending))
}

/// A ready-made file with another image.
fn adapted(text: &str, image: Option<&str>) -> String {
    match image {
        Some(archive) if is_archive(archive) => text.replace("archive: image.tar", &format!("archive: {archive}")),
        Some(reference) => with_reference(text, reference),
        // The example's image has no other page.
        None => with_reference(text, IMAGE).replace("/healthz", "/"),
    }
}

fn with_reference(text: &str, reference: &str) -> String {
    let mut lines = text.lines().peekable();
    let mut out = String::new();
    while let Some(line) = lines.next() {
        let next_is_archive = lines.peek().is_some_and(|next| next.trim_start().starts_with("archive: image.tar"));
        if line.trim_end().ends_with("image:") && next_is_archive {
            lines.next();
            out +=
                &format!("{line} {reference} # or an archive: {{archive: image.tar}}, or s3://bucket/web-1.4.2.tar\n");
        } else {
            out += &line.replace("{ archive: image.tar }", reference);
            out.push('\n');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_an_archive_of_the_bundle_it_is_the_ready_made_revision_byte_for_byte() {
        for (_, text) in [CONTAINER, COMPOSE, SWARM].concat() {
            assert_eq!(adapted(text, Some("image.tar")), text);
        }
    }

    #[test]
    fn with_a_reference_no_archive_is_left_and_every_other_line_is_that_of_the_ready_made_revision() {
        for files in [CONTAINER, COMPOSE, SWARM] {
            let (_, text) = files[0];
            let adapted = adapted(text, Some("a.test/web:1"));
            let keys = |text: &str| text.lines().filter(|line| !line.contains("image.tar")).count();
            assert!(adapted.lines().filter(|line| !line.contains("a.test/web:1")).all(|line| text.contains(line)));
            assert!(!adapted.contains("archive: image.tar #") && adapted.contains(" a.test/web:1"));
            assert!(keys(text) > 25);
        }
    }
}
