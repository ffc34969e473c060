//! What follows from all lines together: what an image is pulled for, where a loaded archive came from.

use serde_yaml::Value;

use crate::import::line::{UNKNOWN, as_written};
use crate::import::script::docker::in_its_place;
use crate::import::script::reading::State;
use crate::import::script::{Found, Handling, LineReport, Verdict, service};

impl State<'_> {
    /// What follows from the whole.
    pub(super) fn finish(mut self, all: Vec<(LineReport, Verdict)>) -> (Vec<LineReport>, Found) {
        let copies: Vec<(String, String)> = all
            .iter()
            .filter_map(|(_, verdict)| match verdict {
                Verdict::Copy(from, to) => Some((from.clone(), to.clone())),
                _ => None,
            })
            .collect();
        self.env_files(&copies);
        // What is loaded says what is copied for it, which stands before.
        let is_load = |verdict: &Verdict| matches!(verdict, Verdict::Load(_));
        let mut reports: Vec<(LineReport, Verdict)> = all;
        for (line, verdict) in reports.iter_mut().filter(|(_, verdict)| is_load(verdict)) {
            line.handling = self.handling(verdict.clone(), &copies);
        }
        for (line, verdict) in reports.iter_mut().filter(|(_, verdict)| !is_load(verdict)) {
            line.handling = self.handling(verdict.clone(), &copies);
        }
        if self.found.service.as_ref().is_some_and(|service| !service.options.is_empty()) {
            let updates = reports.iter_mut().filter(|(line, _)| line.handling == Handling::ToDo(service::WHOLE.into()));
            updates.for_each(|(line, _)| line.handling = Handling::Carried("name, image".into()));
        }
        let reports = reports.into_iter().map(|(line, _)| line).collect();
        if let (Some(archive), Some(container)) = (&self.found.archive, &mut self.found.container) {
            let mut source = serde_yaml::Mapping::from_iter([("archive".into(), archive.as_str().into())]);
            source.extend(container.image.iter().map(|image| (Value::from("reference"), Value::from(image.as_str()))));
            container.options.push(("image".to_owned(), Value::Mapping(source)));
        }
        (reports, self.found)
    }

    /// An `env_file` that was fetched from S3 is named there.
    fn env_files(&mut self, copies: &[(String, String)]) {
        let options = self.found.container.iter_mut().flat_map(|container| &mut container.options);
        let files = options.filter(|(key, _)| key == "env_file").filter_map(|(_, value)| value.as_sequence_mut());
        for entry in files.flatten() {
            let Some(file) = entry.get_mut("path") else { continue };
            let object = file.as_str().and_then(|file| copies.iter().find(|(_, to)| is_same(to, file)));
            if let Some((from, _)) = object {
                *file = from.as_str().into();
            }
        }
    }

    fn handling(&mut self, verdict: Verdict, copies: &[(String, String)]) -> Handling {
        match verdict {
            Verdict::Now(handling) => handling,
            Verdict::Pull(image) => self.pulled(&image),
            Verdict::Load(file) => self.loaded(&file, copies),
            Verdict::Stop(names) => self.stopped(&names),
            Verdict::Copy(from, to) => self.copied(&from, &to),
            Verdict::Remove(files) => removed(&files, copies),
        }
    }

    fn pulled(&self, image: &str) -> Handling {
        let wanted = self.found.container.iter().chain(&self.found.service).filter_map(|found| found.image.as_deref());
        let plain = |image: &str| image.trim_end_matches(":latest").to_owned();
        let pulled = if image.contains(UNKNOWN) { in_its_place(&as_written(image)) } else { image.to_owned() };
        match wanted.map(plain).any(|wanted| wanted == plain(&pulled)) {
            true => Handling::Carried("image: AfterInstall pulls it".into()),
            false if self.found.project.is_some() => {
                Handling::NotNeeded("AfterInstall pulls the images of the Compose file".into())
            }
            false => Handling::ToDo("no line runs this image".into()),
        }
    }

    fn loaded(&mut self, file: &str, copies: &[(String, String)]) -> Handling {
        let of_s3 = copies.iter().find(|(_, to)| is_same(to, file)).map(|(from, _)| from.clone());
        let inside = self.bundle.find(file, None);
        let s3 = file.starts_with("s3://").then(|| file.to_owned());
        let relative =
            (!file.starts_with('/') && !file.contains(UNKNOWN)).then(|| file.trim_start_matches("./").to_owned());
        let archive = s3.or(of_s3).or(inside).or(relative).filter(|archive| !archive.contains(UNKNOWN));
        match archive {
            None => {
                Handling::ToDo(format!("{} is not in the bundle: name the archive there, or in S3", as_written(file)))
            }
            Some(archive) if self.found.archive.as_ref().is_some_and(|first| *first != archive) => {
                Handling::ToDo("a second archive: a revision deploys one image".into())
            }
            Some(archive) if self.found.project.is_some() || self.found.service.is_some() => {
                Handling::ToDo(format!("name it as the image of what it is for: `{{archive: {archive}}}`"))
            }
            Some(archive) => {
                self.found.archive = Some(archive);
                Handling::Carried("image.archive".into())
            }
        }
    }

    fn stopped(&self, names: &[String]) -> Handling {
        let ours = self.found.container.as_ref().and_then(|container| container.name.as_deref());
        let other = names.iter().find(|name| !name.contains(UNKNOWN) && ours.is_some_and(|ours| ours != name.as_str()));
        match other {
            Some(other) => Handling::ToDo(format!(
                "{other} is another container, which balehook leaves alone: stop it once by hand"
            )),
            None if names.iter().any(|name| name.contains(UNKNOWN)) => {
                Handling::NotNeeded("ApplicationStart replaces its own container, and leaves all others alone".into())
            }
            None => Handling::NotNeeded(
                "ApplicationStart replaces the container, and the old one comes back if the new one fails".into(),
            ),
        }
    }

    fn copied(&self, from: &str, to: &str) -> Handling {
        let is_archive = self.found.archive.as_deref() == Some(from);
        let container = self.found.container.as_ref();
        let files = container.and_then(|container| container.get("env_file")?.as_sequence());
        let is_env =
            files.is_some_and(|files| files.iter().any(|file| file.get("path").and_then(Value::as_str) == Some(from)));
        match (is_archive || to == "-", is_env) {
            (true, _) => Handling::Carried("image.archive: only the layers that are missing are fetched".into()),
            (_, true) => Handling::Carried("env_file".into()),
            (false, false) => {
                Handling::NotUnderstood("keep it in a script of its own, as another entry of the hook".into())
            }
        }
    }
}

/// What was only put there to be loaded.
fn removed(files: &[String], copies: &[(String, String)]) -> Handling {
    let is_copy = |file: &String| copies.iter().any(|(_, to)| is_same(to, file));
    match !files.is_empty() && files.iter().all(is_copy) {
        true => Handling::NotNeeded("nothing is put there".into()),
        false => Handling::NotUnderstood("keep it in a script of its own, as another entry of the hook".into()),
    }
}

/// Whether two paths of a script are the same file.
fn is_same(one: &str, other: &str) -> bool {
    let plain = |path: &str| path.trim_start_matches("./").to_owned();
    plain(one) == plain(other)
        || one.ends_with(&format!("/{}", plain(other)))
        || other.ends_with(&format!("/{}", plain(one)))
}
