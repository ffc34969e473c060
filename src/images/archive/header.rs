//! The headers of a tar archive, one after another: name, kind and size of what follows each.
//!
//! Read as engines read them (Go's `archive/tar`): links, folders and devices have no bytes, whatever their header says.
//! Source: POSIX ustar and pax; GNU's long names and base-256 numbers.

use crate::images::archive::ArchiveError;
use crate::values::text::{printable, shorten};

/// A block of a tar archive, in bytes.
pub(crate) const BLOCK: u64 = 512;

/// The longest extension that is read, in bytes: pax records may carry extended attributes.
const MAX_EXTENSION: u64 = 1024 * 1024;

/// The longest name, in bytes: Linux opens none that is longer.
const MAX_NAME: usize = 4096;

/// More headers than any image has: 127 layers with three files each, their folders and long names.
const MAX_HEADERS: usize = 131_072;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Announced {
    /// What it is called, from the archive's root.
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// How many bytes follow it, without their padding.
    pub(crate) size: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    /// A hard or symbolic link to the entry of this name.
    Link(String),
    /// It says something of the entry that follows: [`Headers::extension`] takes its bytes.
    Extension(Extends),
    /// A folder, a device, or what is said of all entries.
    Other,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extends {
    Name,
    /// GNU's long name of a link's target.
    Link,
    Records,
}

/// The headers so far: an extension is applied to the entry that follows it.
#[derive(Debug, Default)]
pub(crate) struct Headers {
    extension: Extension,
    seen: usize,
    last: String,
}

#[derive(Debug, Default)]
struct Extension {
    long_name: Option<String>,
    long_link: Option<String>,
    name: Option<String>,
    link: Option<String>,
    size: Option<u64>,
    is_sparse: bool,
}

impl Headers {
    /// What the header at `offset` announces.
    /// Errors: [`ArchiveError::Damaged`]: it makes no sense, or there are more than we read.
    pub(crate) fn read(&mut self, block: &[u8], offset: u64) -> Result<Announced, ArchiveError> {
        let damaged = |why: String| ArchiveError::Damaged { offset, why };
        let after = if self.last.is_empty() { String::new() } else { format!(" after `{}`", shown(&self.last)) };
        if !is_header(block) {
            return Err(damaged(format!("a tar header was expected{after}, its checksum is wrong")));
        }
        self.seen += 1;
        if self.seen > MAX_HEADERS {
            return Err(damaged(format!("more than {MAX_HEADERS} headers")));
        }
        let header = tar::Header::from_byte_slice(block);
        let announced = match extends(header.entry_type()) {
            Some(about) => self.announce_extension(header, about),
            None => std::mem::take(&mut self.extension).entry(header),
        };
        let announced = announced.map_err(damaged)?;
        self.last.clone_from(&announced.name);
        Ok(announced)
    }

    /// The entry that was announced last, as it may stand in a message.
    pub(crate) fn last(&self) -> String {
        shown(&self.last)
    }

    /// Takes the bytes of the extension whose header is at `offset`.
    pub(crate) fn extension(&mut self, about: Extends, data: &[u8], offset: u64) -> Result<(), ArchiveError> {
        let taken = match about {
            Extends::Name => name_of(data).map(|name| self.extension.long_name = Some(name)),
            Extends::Link => name_of(data).map(|name| self.extension.long_link = Some(name)),
            Extends::Records => self.extension.take_records(data),
        };
        taken.map_err(|why| ArchiveError::Damaged { offset, why })
    }

    fn announce_extension(&self, header: &tar::Header, about: Extends) -> Result<Announced, String> {
        let size = size_of(header)?;
        match size > MAX_EXTENSION {
            true => Err(format!("a name or pax record of {size} bytes; at most {MAX_EXTENSION} are read")),
            false => Ok(Announced { name: self.last.clone(), kind: Kind::Extension(about), size }),
        }
    }
}

impl Extension {
    fn take_records(&mut self, mut data: &[u8]) -> Result<(), String> {
        while !data.is_empty() {
            let (key, value, rest) = record(data).ok_or("a pax record whose length is wrong")?;
            match key {
                // An empty value takes back what was said before.
                b"path" => self.name = Some(name_of(value)?).filter(|name| !name.is_empty()),
                b"linkpath" => self.link = Some(name_of(value)?).filter(|name| !name.is_empty()),
                b"size" => self.size = number(value)?,
                _ => self.is_sparse |= key.starts_with(b"GNU.sparse."),
            }
            data = rest;
        }
        Ok(())
    }

    fn entry(self, header: &tar::Header) -> Result<Announced, String> {
        let name = self.long_name.or(self.name).map_or_else(|| name_of(&header.path_bytes()), Ok)?;
        let kind = header.entry_type();
        if self.is_sparse || kind.is_gnu_sparse() {
            return Err(format!("`{}` is stored with holes: make the archive without tar's --sparse", shown(&name)));
        }
        if kind.is_hard_link() || kind.is_symlink() {
            let link = self.long_link.or(self.link);
            let link = link.map_or_else(|| name_of(&header.link_name_bytes().unwrap_or_default()), Ok)?;
            let link = resolve(&name, &link, kind.is_symlink());
            return Ok(Announced { name: clean(&name), kind: Kind::Link(link), size: 0 });
        }
        let is_folder = kind.is_dir() || (header.as_old().linkflag == [0] && name.ends_with('/'));
        if is_folder || kind.is_character_special() || kind.is_block_special() || kind.is_fifo() {
            return Ok(Announced { name: clean(&name), kind: Kind::Other, size: 0 });
        }
        let size = self.size.map_or_else(|| size_of(header), Ok);
        let size = size.map_err(|why| format!("`{}` has {why}", shown(&name)))?;
        let kind = if kind.is_pax_global_extensions() { Kind::Other } else { Kind::File };
        Ok(Announced { name: clean(&name), kind, size })
    }
}

/// Whether a block is a tar header: its checksum, the sum of its bytes with the checksum's own field as spaces, is right.
pub(crate) fn is_header(block: &[u8]) -> bool {
    let sum = block.iter().enumerate().map(|(at, byte)| if (148..156).contains(&at) { 32 } else { u32::from(*byte) });
    block.len() == BLOCK as usize
        && tar::Header::from_byte_slice(block).cksum().is_ok_and(|said| said == sum.sum::<u32>())
}

/// A name as it may stand in a message.
pub(crate) fn shown(name: &str) -> String {
    shorten(&printable(name), 100)
}

/// A name from the archive's root: `./a//b/../c` is `a/c`.
pub(crate) fn clean(name: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// A hard link's name is from the archive's root, a symbolic link's from the folder it is in.
fn resolve(name: &str, link: &str, is_symbolic: bool) -> String {
    match name.rsplit_once('/').filter(|_| is_symbolic && !link.starts_with('/')) {
        Some((folder, _)) => clean(&format!("{folder}/{link}")),
        None => clean(link),
    }
}

fn extends(kind: tar::EntryType) -> Option<Extends> {
    let about = [
        (kind.is_gnu_longname(), Extends::Name),
        (kind.is_gnu_longlink(), Extends::Link),
        (kind.is_pax_local_extensions(), Extends::Records),
    ];
    about.into_iter().find(|(is, _)| *is).map(|(_, about)| about)
}

/// The first of some pax records, `<length> <key>=<value>\n`, and what follows it.
fn record(data: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = data.iter().take(20).position(|byte| *byte == b' ')?;
    let length: usize = std::str::from_utf8(&data[..space]).ok()?.parse().ok()?;
    let record = data.get(space + 1..length)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|byte| *byte == b'=')?;
    Some((&record[..equals], &record[equals + 1..], &data[length..]))
}

fn number(value: &[u8]) -> Result<Option<u64>, String> {
    let text = String::from_utf8_lossy(value);
    match text.is_empty() {
        true => Ok(None),
        false => text.parse().map(Some).map_err(|_| format!("a pax record with a size of `{}`", shown(&text))),
    }
}

fn size_of(header: &tar::Header) -> Result<u64, String> {
    let field = &header.as_old().size;
    if field.iter().all(|byte| matches!(byte, 0 | b' ')) {
        return Ok(0);
    }
    header.entry_size().map_err(|_| format!("a size of `{}`", shown(&String::from_utf8_lossy(field))))
}

/// A name ends at its first NUL.
fn name_of(bytes: &[u8]) -> Result<String, String> {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    match end > MAX_NAME {
        true => Err(format!("a name of {end} bytes; at most {MAX_NAME} are read")),
        false => Ok(String::from_utf8_lossy(&bytes[..end]).into_owned()),
    }
}
