//! Images made here: a static busybox and what a test needs, as `docker save` writes them.

use std::path::{Path, PathBuf};

use sha2::Digest as _;

/// An image to build.
#[derive(Clone)]
pub struct Image {
    tags: Vec<String>,
    files: Vec<(String, Vec<u8>)>,
    config: serde_json::Value,
    architecture: String,
    padding: u64,
}

/// A web server on port 80 that answers with `version`.
pub fn web(tag: &str, version: &str) -> Image {
    let command = ["/bin/busybox", "httpd", "-f", "-p", "80", "-h", "/www"];
    Image::new(tag).file("www/index.html", format!("{version}\n")).file("www/healthz", "ok\n").command(&command)
}

/// The server that is compiled for the handover's tests: it takes `boot` seconds to come up on `ports` (`tcp:80`).
pub fn server(tag: &str, version: &str, boot: u32, ports: &[&str]) -> Image {
    static BINARY: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
    let binary = BINARY.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("server");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/support/server.rs");
        let options = ["--edition", "2024", "-O", "-C", "target-feature=+crt-static", "-C", "strip=symbols", "-o"];
        let rustc = std::process::Command::new("rustc").args(options).arg(&program).arg(source).output().unwrap();
        assert!(rustc.status.success(), "{}", String::from_utf8_lossy(&rustc.stderr));
        std::fs::read(program).unwrap()
    });
    let boot = boot.to_string();
    let command: Vec<&str> = ["/bin/server", version, &boot].into_iter().chain(ports.iter().copied()).collect();
    Image::new(tag).file("bin/server", binary.clone()).command(&command)
}

impl Image {
    /// Busybox alone.
    pub fn new(tag: &str) -> Self {
        // No two tests share a layer or an image: one may be removed while another is loaded.
        let own = ("etc/image".to_owned(), tag.split(':').next().unwrap_or_default().as_bytes().to_vec());
        let files = vec![("bin/busybox".to_owned(), std::fs::read("/bin/busybox").unwrap()), own];
        let config = serde_json::json!({ "Labels": { "test": tag } });
        Self { tags: vec![tag.to_owned()], files, config, architecture: "amd64".into(), padding: 0 }
    }

    pub fn file(mut self, path: &str, content: impl Into<Vec<u8>>) -> Self {
        self.files.push((path.to_owned(), content.into()));
        self
    }

    pub fn command(mut self, command: &[&str]) -> Self {
        self.config["Cmd"] = command.into();
        self
    }

    /// Other names that the archive says it has.
    pub fn also(mut self, tags: &[&str]) -> Self {
        self.tags.extend(tags.iter().map(|tag| (*tag).to_owned()));
        self
    }

    /// A script of busybox's shell.
    pub fn script(self, script: &str) -> Self {
        self.command(&["/bin/busybox", "sh", "-c", script])
    }

    pub fn healthcheck(mut self, test: &[&str]) -> Self {
        self.config["Healthcheck"] = serde_json::json!({ "Test": test, "Interval": 30_000_000_000u64 });
        self
    }

    /// A `VOLUME`.
    pub fn volume(mut self, path: &str) -> Self {
        self.config["Volumes"][path] = serde_json::json!({});
        self
    }

    pub fn architecture(mut self, name: &str) -> Self {
        self.architecture = name.to_owned();
        self
    }

    /// A layer with so many bytes more.
    pub fn padding(mut self, bytes: u64) -> Self {
        self.padding = bytes;
        self
    }

    /// The layer, as a tar.
    fn layer(&self) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for (path, content) in &self.files {
            entry(&mut tar, path, content);
        }
        let mut header = header("bin/sh", 0, 0o777);
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_link_name("busybox").unwrap();
        header.set_cksum();
        tar.append(&header, &[][..]).unwrap();
        tar.into_inner().unwrap()
    }

    /// Writes the archive; returns its config digest, which is the image's ID.
    pub fn write(&self, path: &Path) -> String {
        let layer = self.layer();
        let mut layers = vec![(sha256(&layer), layer.len() as u64)];
        if self.padding > 0 {
            layers.push((padding_digest(self.padding), padding_size(self.padding)));
        }
        let diff_ids: Vec<String> = layers.iter().map(|(digest, _)| format!("sha256:{digest}")).collect();
        let config = serde_json::json!({
            "architecture": self.architecture, "os": "linux", "config": self.config,
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
        });
        let config = config.to_string().into_bytes();
        let id = sha256(&config);
        let mut tar = tar::Builder::new(std::io::BufWriter::new(std::fs::File::create(path).unwrap()));
        entry(&mut tar, &format!("{id}.json"), &config);
        entry(&mut tar, &format!("{}/layer.tar", layers[0].0), &layer);
        if let Some((digest, size)) = layers.get(1) {
            tar.append(&header(&format!("{digest}/layer.tar"), *size, 0o644), padding_layer(self.padding)).unwrap();
        }
        let names: Vec<String> = layers.iter().map(|(digest, _)| format!("{digest}/layer.tar")).collect();
        let manifest = serde_json::json!([{ "Config": format!("{id}.json"), "RepoTags": self.tags, "Layers": names }]);
        entry(&mut tar, "manifest.json", manifest.to_string().as_bytes());
        tar.finish().unwrap();
        format!("sha256:{id}")
    }

    /// Writes an archive with one layer of `size` bytes, all of them a hole in the file.
    pub fn write_sparse(&self, path: &Path, size: u64) {
        use std::io::{Seek as _, SeekFrom};
        let config = serde_json::json!({
            "architecture": self.architecture, "os": "linux", "config": self.config,
            "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{}", "0".repeat(64))] },
        });
        let manifest = serde_json::json!([{ "Config": "c.json", "RepoTags": self.tags, "Layers": ["0/layer.tar"] }]);
        let mut file = std::fs::File::create(path).unwrap();
        std::io::Write::write_all(&mut file, large_header("0/layer.tar", size).as_bytes()).unwrap();
        file.seek(SeekFrom::Current(size.try_into().unwrap())).unwrap();
        let mut tar = tar::Builder::new(file);
        entry(&mut tar, "c.json", config.to_string().as_bytes());
        entry(&mut tar, "manifest.json", manifest.to_string().as_bytes());
        tar.finish().unwrap();
    }

    /// Writes the archive into a folder as `image.tar`.
    pub fn write_into(&self, folder: &Path) -> (PathBuf, String) {
        let path = folder.join("image.tar");
        let id = self.write(&path);
        (path, id)
    }
}

/// An image of several layers.
pub struct Layered {
    top: Image,
    below: Vec<Vec<u8>>,
    blobs: bool,
    compressed: Option<&'static str>,
    untagged: bool,
}

impl Layered {
    /// The web server with its page is the top layer.
    pub fn web(tag: &str, page: &str) -> Self {
        Self { top: web(tag, page), below: Vec::new(), blobs: false, compressed: None, untagged: false }
    }

    /// One more layer below the top.
    pub fn below(mut self, seed: &[u8], bytes: u64) -> Self {
        self.below.push(noise_layer(seed, bytes));
        self
    }

    /// One more layer below the top, of a file of zeros.
    pub fn zeros(mut self, bytes: usize) -> Self {
        let mut tar = tar::Builder::new(Vec::new());
        entry(&mut tar, "zeros", &vec![0; bytes]);
        self.below.push(tar.into_inner().unwrap());
        self
    }

    /// Layers are compressed by a program (`gzip`, `zstd`, …), and named by their digests.
    pub const fn compressed(mut self, program: &'static str) -> Self {
        self.compressed = Some(program);
        self.blobs = true;
        self
    }

    pub fn label(mut self, value: &str) -> Self {
        self.top.config["Labels"]["more"] = value.into();
        self
    }

    /// The archive does not name its image.
    pub const fn untagged(mut self) -> Self {
        self.untagged = true;
        self
    }

    /// Layers are named by their digests, as engines since 25 do.
    pub const fn blobs(mut self) -> Self {
        self.blobs = true;
        self
    }

    /// Writes the archive; returns its config digest.
    pub fn write(&self, path: &Path) -> String {
        let layers: Vec<Vec<u8>> = self.below.iter().cloned().chain([self.top.layer()]).collect();
        let diff_ids: Vec<String> = layers.iter().map(|layer| format!("sha256:{}", sha256(layer))).collect();
        let layers = match self.compressed {
            Some(program) => layers.iter().map(|layer| compress(program, layer)).collect(),
            None => layers,
        };
        let digests: Vec<String> = layers.iter().map(|layer| sha256(layer)).collect();
        let config = serde_json::json!({
            "architecture": self.top.architecture, "os": "linux", "config": self.top.config,
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
        });
        let config = config.to_string().into_bytes();
        let id = sha256(&config);
        let names: Vec<String> = (0..layers.len())
            .map(|at| match self.blobs {
                true => format!("blobs/sha256/{}", digests[at]),
                false => format!("{at}/layer.tar"),
            })
            .collect();
        let tags = (!self.untagged).then_some(&self.top.tags);
        let manifest = serde_json::json!([{ "Config": format!("{id}.json"), "RepoTags": tags, "Layers": names }]);
        let mut tar = tar::Builder::new(std::fs::File::create(path).unwrap());
        gnu_entry(&mut tar, &format!("{id}.json"), &config);
        for (at, layer) in layers.iter().enumerate() {
            if !self.blobs || !digests[..at].contains(&digests[at]) {
                gnu_entry(&mut tar, &names[at], layer);
            }
        }
        gnu_entry(&mut tar, "manifest.json", manifest.to_string().as_bytes());
        tar.finish().unwrap();
        format!("sha256:{id}")
    }
}

fn compress(program: &str, bytes: &[u8]) -> Vec<u8> {
    use std::io::{Seek as _, Write as _};
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file.rewind().unwrap();
    let output = std::process::Command::new(program).stdin(file).output().unwrap();
    assert!(output.status.success(), "{program}");
    output.stdout
}

/// A layer with a file of noise, the same for the same seed and size.
pub fn noise_layer(seed: &[u8], bytes: u64) -> Vec<u8> {
    let state = seed
        .iter()
        .fold(0x9e37_79b9_7f4a_7c15, |state: u64, byte| (state ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    let mut noise = Vec::new();
    std::io::Read::read_to_end(&mut Noise { state, left: bytes }, &mut noise).unwrap();
    let mut tar = tar::Builder::new(Vec::new());
    entry(&mut tar, &format!("data/{state:x}"), &noise);
    tar.into_inner().unwrap()
}

/// The web server's layer, with a page.
pub fn server_layer(page: &str) -> Vec<u8> {
    web("layer:1", page).layer()
}

fn header(path: &str, size: u64, mode: u32) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.set_path(path).unwrap();
    header.set_size(size);
    header.set_mode(mode);
    header.set_cksum();
    header
}

/// GNU's form: ustar has no room for more than 8 GiB.
fn large_header(path: &str, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_path(path).unwrap();
    header.set_size(size);
    header.set_mode(0o644);
    header.set_cksum();
    header
}

/// An entry whose name may be long.
fn gnu_entry<W: std::io::Write>(tar: &mut tar::Builder<W>, path: &str, content: &[u8]) {
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    tar.append_data(&mut header, path, content).unwrap();
}

fn entry<W: std::io::Write>(tar: &mut tar::Builder<W>, path: &str, content: &[u8]) {
    tar.append(&header(path, content.len() as u64, 0o755), content).unwrap();
}

/// The digest, in hexadecimal digits.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&sha2::Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A layer with one file of `bytes` bytes, never whole in memory.
fn padding_layer(bytes: u64) -> impl std::io::Read {
    use std::io::Read as _;
    let head = header("padding", bytes, 0o644).as_bytes().to_vec();
    let fill = padding_size(bytes) - 512 - bytes;
    std::io::Cursor::new(head).chain(Noise { state: 1, left: bytes }).chain(std::io::repeat(0).take(fill))
}

fn padding_size(bytes: u64) -> u64 {
    512 + bytes.div_ceil(512) * 512 + 1024
}

fn padding_digest(bytes: u64) -> String {
    let mut digest = sha2::Sha256::new();
    std::io::copy(&mut padding_layer(bytes), &mut HashWriter(&mut digest)).unwrap();
    hex(&digest.finalize())
}

struct HashWriter<'a>(&'a mut sha2::Sha256);

impl std::io::Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Bytes that do not compress.
struct Noise {
    state: u64,
    left: u64,
}

impl std::io::Read for Noise {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        for chunk in buffer[..count].chunks_mut(8) {
            self.state ^= self.state << 13;
            self.state ^= self.state >> 7;
            self.state ^= self.state << 17;
            chunk.copy_from_slice(&self.state.to_le_bytes()[..chunk.len()]);
        }
        self.left -= count as u64;
        Ok(count)
    }
}
