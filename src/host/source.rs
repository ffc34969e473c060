//! Where an archive's bytes come from: a file of this host or an object in S3.

use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};

use super::s3::{S3, S3Object};
use crate::error::{Failure, Kind};
use crate::facts::LookFailure;
use crate::image::archive::{ReadAt, ReadError};
use crate::spec::ArchiveLocation;

/// Bytes read from a file at once while it is streamed.
const CHUNK: usize = 256 * 1024;

/// An archive that can be read at any place, and as a stream.
#[derive(Debug, Clone)]
pub enum Archive {
    /// A file.
    File {
        /// The open file.
        file: Arc<std::fs::File>,
        /// Its path.
        path: PathBuf,
        /// Its length and its time of change, in nanoseconds.
        version: (u64, i128),
    },
    /// An object.
    S3 {
        /// The client.
        s3: S3,
        /// The object, as it was when it was opened.
        object: S3Object,
    },
}

/// The archive's bytes in order.
pub type ByteStream = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;

impl Archive {
    /// Opens it: one `stat` or one HEAD request.
    ///
    /// # Errors
    /// [`Kind::Image`]: it is missing or may not be read, or nobody could be asked.
    pub async fn open(location: &ArchiveLocation, s3: &S3) -> Result<Self, LookFailure> {
        match location {
            ArchiveLocation::File(path) => {
                open_file(path).map_err(|error| LookFailure { failure: unreadable(path, &error), definite: true })
            }
            ArchiveLocation::S3(uri) => {
                let object = s3.head(uri).await.map_err(|error| LookFailure::from(&error))?;
                Ok(Self::S3 { s3: s3.clone(), object })
            }
        }
    }

    /// What tells this version of the archive from any other.
    pub fn version(&self) -> String {
        match self {
            Self::File { path, version: (size, time), .. } => format!("{} ({size} bytes, {time})", path.display()),
            Self::S3 { object, .. } => format!("{} (ETag {})", object.uri, object.etag),
        }
    }

    /// The whole archive, in order, with constant memory.
    pub fn stream(&self) -> ByteStream {
        match self {
            Self::File { file, version: (size, _), .. } => file_stream(file.clone(), *size),
            Self::S3 { s3, object } => Box::pin(s3.stream(object).map(|chunk| chunk.map_err(io::Error::other))),
        }
    }
}

impl ReadAt for Archive {
    fn len(&self) -> u64 {
        match self {
            Self::File { version: (size, _), .. } => *size,
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

fn open_file(path: &Path) -> io::Result<Archive> {
    let file = std::fs::File::open(path)?;
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    let time = i128::from(meta.mtime()) * 1_000_000_000 + i128::from(meta.mtime_nsec());
    Ok(Archive::File { file: Arc::new(file), path: path.to_owned(), version: (meta.len(), time) })
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

fn file_stream(file: Arc<std::fs::File>, size: u64) -> ByteStream {
    Box::pin(futures_util::stream::try_unfold(0u64, move |offset| {
        let file = file.clone();
        async move {
            let want = usize::try_from(size - offset).unwrap_or(CHUNK).min(CHUNK);
            if want == 0 {
                return Ok(None);
            }
            let mut buffer = vec![0; want];
            let got = read_full(&file, &mut buffer, offset)?;
            if got < want {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "the archive became shorter while it was read",
                ));
            }
            Ok(Some((Bytes::from(buffer), offset + got as u64)))
        }
    }))
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    let failure = Failure::new(Kind::Image, format!("cannot read the archive {}: {error}", path.display()));
    match error.kind() {
        io::ErrorKind::NotFound => {
            failure.next("put it into the bundle, or correct x-balehook.container.image.archive")
        }
        _ => failure.next("make it readable for the user that the hook runs as"),
    }
}
