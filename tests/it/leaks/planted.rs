//! Secrets that a test plants, and where they are found afterwards.

use std::collections::{BTreeSet, HashMap};
use std::io::Read as _;
use std::path::Path;

use crate::support::images::sha256;
use crate::support::world::base64;

/// Each by the door that it came in by.
#[derive(Debug, Default, Clone)]
pub struct Planted {
    doors: BTreeSet<String>,
    /// What is looked for, by its first two bytes: a text is read once, whatever their number.
    texts: HashMap<[u8; 2], Vec<(Vec<u8>, String)>>,
}

/// Where, and by which door it came in.
pub type Found = BTreeSet<(String, String)>;

impl Planted {
    /// A new secret: a word of small letters. Nothing hides it for its form.
    pub fn word(&mut self, door: &str) -> String {
        let mut random = [0; 14];
        std::fs::File::open("/dev/urandom").unwrap().read_exact(&mut random).unwrap();
        let word: String = random.iter().map(|byte| char::from(b'a' + byte % 26)).collect();
        self.add(door, &word);
        word
    }

    /// One that is known already. It is looked for as it is, in base64, and by its plain SHA-256: who has that can check a
    /// guess.
    pub fn add(&mut self, door: &str, secret: &str) {
        let digest = sha256(secret.as_bytes());
        for text in [secret, base64(secret).trim_end_matches('='), &digest[..16]] {
            let text = text.as_bytes().to_vec();
            self.texts.entry([text[0], text[1]]).or_default().push((text, door.to_owned()));
        }
        self.doors.insert(door.to_owned());
    }

    pub fn count(&self) -> usize {
        self.doors.len()
    }

    /// The doors of those that stand in a text.
    pub fn within(&self, text: &[u8]) -> BTreeSet<String> {
        let mut begins = vec![false; 1 << 16];
        self.texts.keys().for_each(|first| begins[usize::from(u16::from_be_bytes(*first))] = true);
        let mut found = BTreeSet::new();
        let mut pair = 0_u16;
        for (end, byte) in text.iter().enumerate() {
            pair = pair << 8 | u16::from(*byte);
            if end > 0 && begins[usize::from(pair)] {
                let (at, wanted) = (end - 1, &self.texts[&pair.to_be_bytes()]);
                let here = wanted.iter().filter(|(wanted, _)| text[at..].starts_with(wanted));
                found.extend(here.map(|(_, door)| door.clone()));
            }
        }
        found
    }

    /// Adds what stands in a text.
    pub fn look(&self, place: &str, text: &[u8], found: &mut Found) {
        found.extend(self.within(text).into_iter().map(|door| (place.to_owned(), door)));
    }

    /// Looks into every file below a folder, unpacked where it is compressed, and at their names. Numbers and digests in
    /// the names of files are left out of the place.
    pub fn look_below(&self, folder: &Path, place: &str, found: &mut Found) {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let place = format!("{place}/{}", plain(&name));
            self.look(&place, name.as_bytes(), found);
            if entry.path().is_dir() {
                self.look_below(&entry.path(), &place, found);
                continue;
            }
            let bytes = std::fs::read(entry.path()).unwrap_or_default();
            let mut unpacked = Vec::new();
            if name.ends_with(".gz") {
                flate2::read::GzDecoder::new(bytes.as_slice()).read_to_end(&mut unpacked).unwrap();
            }
            self.look(&place, &[bytes, unpacked].concat(), found);
        }
    }
}

/// `12.json` is `N.json`, and a name of hexadecimal digits `DIGEST`.
fn plain(name: &str) -> String {
    let is_hex = name.len() >= 12 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    let (stem, end) = name.split_once('.').map_or((name, String::new()), |(stem, end)| (stem, format!(".{end}")));
    match stem {
        _ if is_hex => "DIGEST".into(),
        stem if !stem.is_empty() && stem.bytes().all(|byte| byte.is_ascii_digit()) => format!("N{end}"),
        _ => name.to_owned(),
    }
}
