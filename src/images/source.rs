//! Where an archive's bytes come from: a file of this host or an object in S3.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::Stream;
use sha2::Digest as _;

use crate::aws::s3::{S3, S3Object};
use crate::config::ArchiveLocation;
use crate::config::verify::Verify;
use crate::error::{Failure, Kind, ObserveFailure};
use crate::images::archive::{ArchiveError, ArchiveIndex, ReadAt, ReadError};
use crate::images::transfer::Transfer;
use crate::images::{archive, verify};
use crate::inputs;
use crate::values::types::ContentDigest;

/// An archive that can be read at any place, and as a stream.
#[derive(Debug, Clone)]
pub(crate) enum Archive {
    File {
        file: Arc<std::fs::File>,
        path: PathBuf,
        /// Its length.
        size: u64,
        /// When it was last changed in any way, in seconds and nanoseconds.
        changed: (i64, i64),
    },
    S3 {
        s3: S3,
        /// The object, as it was when it was opened.
        object: S3Object,
    },
}

pub(crate) type ByteStream = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;

impl Archive {
    /// Opens it: one `stat` or one HEAD request.
    /// Errors: [`Kind::Image`]: it is missing or may not be read, or there was no answer.
    async fn open(location: &ArchiveLocation, s3: &S3, bundle: Option<&Path>) -> Result<Self, ObserveFailure> {
        match location {
            ArchiveLocation::File(path) => open_file(path, bundle)
                .map_err(|error| ObserveFailure { failure: unreadable(path, &error), definite: true }),
            ArchiveLocation::S3(uri) => {
                let object = s3.head(uri).await.map_err(|error| ObserveFailure::from(&error))?;
                Ok(Self::S3 { s3: s3.clone(), object })
            }
        }
    }

    /// What tells this version of the archive from any other: of a file its content, because each deployment unpacks its
    /// bundle anew, in a folder of its own.
    /// Errors: The file cannot be read.
    pub(crate) async fn version(&self, bundle: &Path) -> io::Result<String> {
        match self {
            Self::File { file, path, .. } => {
                let file = file.clone();
                let digest = tokio::task::spawn_blocking(move || digest(&file)).await.map_err(io::Error::other)??;
                Ok(format!("{} ({digest})", path.strip_prefix(bundle).unwrap_or(path).display()))
            }
            Self::S3 { object, .. } => Ok(format!("{} (ETag {})", object.uri, object.etag)),
        }
    }

    /// As a person reads it.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::File { path, .. } => path.display().to_string(),
            Self::S3 { object, .. } => object.uri.to_string(),
        }
    }

    /// Whether a file was written to since it was opened; an object in S3 is read by its entity tag alone.
    pub(crate) fn was_written(&self) -> io::Result<bool> {
        match self {
            Self::File { file, changed, .. } => {
                let now = file.metadata()?;
                Ok((now.ctime(), now.ctime_nsec()) != *changed)
            }
            Self::S3 { .. } => Ok(false),
        }
    }

    /// Some of it or all, in order, with bounded memory.
    pub(crate) fn stream(&self, range: Range<u64>) -> ByteStream {
        let transfer = Transfer::new(self.clone(), [range]);
        Box::pin(futures_util::stream::try_unfold(transfer, async |mut transfer| {
            let chunk = transfer.next().await.map_err(io::Error::other)?;
            Ok(chunk.map(|chunk| (chunk, transfer)))
        }))
    }
}

/// The archives of one deployment, each opened and indexed once: what observes one leaves it open for what loads it.
#[derive(Debug, Clone)]
pub(crate) struct Archives {
    s3: S3,
    bundle: Option<PathBuf>,
    opened: Arc<Mutex<Vec<Arc<Opened>>>>,
}

#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) location: ArchiveLocation,
    architecture: Option<String>,
    pub(crate) archive: Archive,
    /// What it holds for that processor, or why that is not known.
    pub(crate) index: Result<ArchiveIndex, ArchiveError>,
    verified: tokio::sync::Mutex<Option<(Verify, ContentDigest)>>,
}

impl Opened {
    /// Verifies its bytes, once for each way.
    /// Errors: As [`verify::archive`].
    pub(crate) async fn verified(&self, wanted: &Verify, bundle: &Path) -> Result<ContentDigest, Failure> {
        let mut last = self.verified.lock().await;
        if let Some((_, digest)) = last.as_ref().filter(|(verify, _)| verify == wanted) {
            return Ok(digest.clone());
        }
        let digest = verify::archive(wanted, &self.archive, bundle).await?;
        *last = Some((wanted.clone(), digest.clone()));
        Ok(digest)
    }
}

impl Archives {
    /// None is open yet. Those below `bundle`, where there is one, must not lie outside it.
    pub(crate) fn new(s3: S3, bundle: Option<PathBuf>) -> Self {
        Self { s3, bundle, opened: Arc::default() }
    }

    /// Opens and indexes an archive; of several platforms the images of `architecture` are taken.
    /// Errors: As [`Archive::open`]. What is wrong with its content is in [`Opened::index`].
    pub(crate) async fn open(
        &self,
        location: &ArchiveLocation,
        architecture: Option<&str>,
    ) -> Result<Arc<Opened>, ObserveFailure> {
        let known =
            |opened: &&Arc<Opened>| opened.location == *location && opened.architecture.as_deref() == architecture;
        let found = self.opened.lock().ok().and_then(|all| all.iter().find(known).cloned());
        if let Some(found) = found {
            return Ok(found);
        }
        let archive = Archive::open(location, &self.s3, self.bundle.as_deref()).await?;
        let index = archive::index(&archive, architecture).await;
        let (location, architecture) = (location.clone(), architecture.map(str::to_owned));
        let opened =
            Arc::new(Opened { location, architecture, archive, index, verified: tokio::sync::Mutex::default() });
        if let Ok(mut all) = self.opened.lock() {
            all.push(opened.clone());
        }
        Ok(opened)
    }
}

impl ReadAt for Archive {
    fn len(&self) -> u64 {
        match self {
            Self::File { size, .. } => *size,
            Self::S3 { object, .. } => object.size,
        }
    }

    async fn read_at(&self, offset: u64, len: usize) -> Result<Bytes, ReadError> {
        match self {
            Self::File { file, .. } => {
                let mut buffer = vec![0; len];
                let got = read_full(file, &mut buffer, offset).map_err(ReadError::new)?;
                buffer.truncate(got);
                Ok(buffer.into())
            }
            Self::S3 { s3, object } => s3.read_range(object, offset, len).await.map_err(ReadError::new),
        }
    }
}

fn open_file(path: &Path, bundle: Option<&Path>) -> io::Result<Archive> {
    let file = inputs::open(path, bundle)?;
    let found = file.metadata()?;
    let (size, changed) = (found.len(), (found.ctime(), found.ctime_nsec()));
    Ok(Archive::File { file: Arc::new(file), path: path.to_owned(), size, changed })
}

/// Of the whole content.
fn digest(file: &File) -> io::Result<ContentDigest> {
    let (mut hasher, mut buffer, mut offset) = (sha2::Sha256::new(), vec![0; 128 * 1024], 0);
    loop {
        match read_full(file, &mut buffer, offset)? {
            0 => return Ok(ContentDigest::finish(hasher)),
            got => hasher.update(&buffer[..got]),
        }
        offset += buffer.len() as u64;
    }
}

fn read_full(file: &std::fs::File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        match file.read_at(&mut buffer[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(got) => done += got,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// Up to `len` bytes of a file from `offset`.
pub(crate) fn read_chunk(file: &std::fs::File, offset: u64, len: u64) -> io::Result<Bytes> {
    let mut buffer = vec![0; usize::try_from(len).unwrap_or(0)];
    let got = read_full(file, &mut buffer, offset)?;
    if got < buffer.len() {
        let why = format!("it became shorter while it was read: it ends at byte {}", offset + got as u64);
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, why));
    }
    Ok(buffer.into())
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    let failure = Failure::new(Kind::Image, format!("cannot read the archive {}: {error}", path.display()));
    match error.kind() {
        io::ErrorKind::NotFound => {
            failure.next("put it into the bundle, or correct x-balehook.container.image.archive")
        }
        io::ErrorKind::PermissionDenied => failure.next("make it readable for the user that the hook runs as"),
        _ => failure.next("x-balehook.container.image.archive must name a regular file of the bundle, or of this host"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::images::archive::tests::layout;
    use crate::waits::Waits;

    #[tokio::test]
    async fn two_services_of_one_archive_get_each_the_image_of_its_own_platform() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("image.tar");
        std::fs::write(&path, layout().bytes()).unwrap();
        let archives = Archives::new(S3::from_env(&|_| None, &Waits::default()), None);
        for wanted in ["amd64", "arm64", "amd64"] {
            let opened = archives.open(&ArchiveLocation::File(path.clone()), Some(wanted)).await.unwrap();
            assert_eq!(opened.index.as_ref().unwrap().images[0].architecture, wanted);
        }
        assert_eq!(archives.opened.lock().unwrap().len(), 2, "each is read once");
    }
}
