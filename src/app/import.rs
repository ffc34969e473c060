//! `import`: a revision of what a container has, or of what a `docker run` line says.

use std::path::Path;

use bollard::models::ContainerInspectResponse;

use crate::app::revision::{self, NewFile, SHIM_PATH};
use crate::app::{Context, say};
use crate::deploy::state::Store;
use crate::error::{Failure, Kind};
use crate::import::line::{as_written, split};
use crate::import::{How, Imported, NotCarried, appspec, is_run_line, of_container, run_line_in};
use crate::modes::release::{Part, Release};
use crate::ui::text::Console;
use crate::values::labels::LABEL_NAME;
use crate::values::types::Name;

pub(crate) struct Wanted<'a> {
    /// A container, or a line in one word or in several.
    pub(crate) words: &'a [String],
    /// A folder, or `-` for stdout.
    pub(crate) output: &'a Path,
    /// What looks like a secret is written too.
    pub(crate) show_values: bool,
}

/// Writes the revision, and says what it does not have.
pub(crate) async fn import(context: &Context, wanted: Wanted<'_>) -> u8 {
    match revision_of(context, &wanted).await {
        Ok(()) => 0,
        Err(failure) => say(&failure),
    }
}

async fn revision_of(context: &Context, wanted: &Wanted<'_>) -> Result<(), Failure> {
    let words = words(context, wanted.words)?;
    let (mut imported, source, container, hidden) = if is_run_line(&words) {
        let folder = std::env::current_dir().ok();
        (run_line_in(&words, folder.as_deref()), "a run line".to_owned(), None, Vec::new())
    } else {
        let [container] = words.as_slice() else { return Err(no_line(&words)) };
        let (imported, hidden) = inspected(context, container).await?;
        (imported, format!("the container {container}"), Some(container.as_str()), hidden)
    };
    if imported.image.is_none() {
        return Err(no_image(&imported));
    }
    let how = How { source: &source, show_values: wanted.show_values, container, hidden: &hidden };
    let text = appspec(&mut imported, how);
    write(&text, &imported.not_carried, wanted.output)
}

/// The words of a line that stands in one.
fn words(context: &Context, words: &[String]) -> Result<Vec<String>, Failure> {
    let [line] = words else { return Ok(words.to_vec()) };
    if !line.trim().contains(char::is_whitespace) {
        return Ok(words.to_vec());
    }
    let line = split(line, &|name| context.env.lookup(name).map(str::to_owned))
        .map_err(|why| Failure::new(Kind::Usage, format!("the line {why}")))?;
    if !line.rest.is_empty() {
        Console::stderr().line(&format!("not read: what follows the command: {}", line.rest));
    }
    Ok(line.words)
}

fn no_line(words: &[String]) -> Failure {
    let first = words.first().map_or("", String::as_str);
    Failure::new(Kind::Usage, format!("`{}` begins no run line", as_written(first)))
        .next("name a container, or write the line: `balehook import 'docker run --detach web:1.4.2'`")
}

/// The reason stands in what was not carried, where there was one.
fn no_image(imported: &Imported) -> Failure {
    let failure = Failure::new(Kind::Usage, "the line has no image that can be read");
    let evidence: Vec<String> = imported.not_carried.iter().map(NotCarried::line).collect();
    failure.evidence(evidence).next("an image is what stands behind the options: `docker run [OPTIONS] IMAGE`")
}

/// What the engine says of a container, and the variables of one of ours whose values nothing shows.
async fn inspected(context: &Context, container: &str) -> Result<(Imported, Vec<String>), Failure> {
    let engine = context.engine()?;
    let found = engine.inspect(container).await?;
    let found = found.ok_or_else(|| {
        Failure::new(Kind::Container, format!("there is no container {container}"))
            .next("`docker ps --all` lists them; a run line is written in quotes")
    })?;
    let (image, hidden) = (found.image.clone().unwrap_or_default(), hidden(context, &found));
    let image = engine.image(&image).await?.unwrap_or_default();
    let imported = of_container(found, image).map(|imported| (imported, hidden));
    imported.ok_or_else(|| {
        Failure::new(Kind::Engine, format!("the engine describes {container} without its image or its options"))
            .next("look at `docker inspect`")
    })
}

/// Of a container of ours its release knows which values came from files, or were fetched: their names may look harmless.
fn hidden(context: &Context, found: &ContainerInspectResponse) -> Vec<String> {
    let labels = found.config.as_ref().and_then(|config| config.labels.as_ref());
    let name = labels.and_then(|labels| labels.get(LABEL_NAME)).and_then(|name| name.parse::<Name>().ok());
    let releases = name.map(|name| Store::new(&context.settings.state_dir, &name).releases::<Part>());
    let is_own = |release: &Release| Some(&release.observed.container) == found.id.as_ref();
    let release = releases.into_iter().flatten().find(is_own);
    release.map(|release| release.hidden().map(str::to_owned).collect()).unwrap_or_default()
}

fn write(text: &str, not_carried: &[NotCarried], output: &Path) -> Result<(), Failure> {
    if output == Path::new("-") {
        Console::stdout().whole(text);
        return Ok(());
    }
    revision::write(output, &[NewFile::new("appspec.yml", text), NewFile::shim()])?;
    let mut console = Console::stderr();
    for item in not_carried {
        console.line(&format!("not carried: {}", item.line()));
    }
    let path = output.display();
    console.line(&format!("wrote {path}/appspec.yml and {path}/{SHIM_PATH}; next: `balehook check {path}`, `balehook plan --appspec {path}`"));
    Ok(())
}
