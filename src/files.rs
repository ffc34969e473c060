//! Files that are whole or not there, also after a crash.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

/// Replaces a file, or makes it, with mode 0600: a temporary one in the same folder, fsync, rename, fsync of the folder.
pub(crate) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(folder)?;
    file.write_all(content)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    File::open(folder)?.sync_all()
}
