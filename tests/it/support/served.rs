//! A deployment that serves, and the next one that something happens to.

use crate::support::images::web;
use crate::support::{Bundle, world};

/// A container that serves "old", by its first deployment.
pub struct Served {
    pub bundle: Bundle,
    pub name: String,
    pub port: u16,
    pub id: String,
}

impl Served {
    /// `more`: further options of the container; `rest`: what stands beside it.
    pub fn over(stem: &str, more: &str, rest: &str) -> Self {
        let (world, name, port) = (world(), world().name(stem), world().port());
        let bundle = Bundle::container(&name, &(service("{archive: image.tar}", port) + more), rest);
        web(&format!("{name}:1"), "old").write_into(&bundle.path());
        bundle.hook("ApplicationStart").exits(0);
        let id = world.inspect(&name, "{{.Id}}");
        Self { bundle, name, port, id }
    }

    /// What comes next in the bundle is "new".
    pub fn with_next(stem: &str, rest: &str) -> Self {
        let mut served = Self::over(stem, "", rest);
        web(&served.tag(2), "new").write_into(&served.bundle.path());
        served.bundle.deployment("d-TEST00002");
        served
    }

    pub fn tag(&self, version: u8) -> String {
        format!("{}:{version}", self.name)
    }

    /// Exactly one container is left, the old one, and it serves.
    #[track_caller]
    pub fn serves_old(&self) {
        assert_eq!(world().running(&self.name), self.id, "the old one runs, and nothing else");
        self.serves("old");
        assert!(!self.bundle.has_journal(&self.name), "nothing is left to undo");
    }

    /// Exactly one container is left, and it answers with this.
    #[track_caller]
    pub fn serves(&self, version: &str) {
        let world = world();
        assert_eq!(world.containers(&self.name), self.name, "exactly one container is left");
        world.wait_for("the service", || world.get(self.port, "/").is_some());
        assert_eq!(world.get(self.port, "/").as_deref(), Some(version));
    }
}

/// The options of such a container.
pub fn service(source: &str, port: u16) -> String {
    format!("image: {source}\nports: [\"127.0.0.1:{port}:80\"]\nstop_grace_period: 1s")
}
