//! Tasks around the deployment of a Compose project.

use nix::sys::signal::Signal;

use crate::support::images::web;
use crate::support::world::repository;
use crate::support::{Bundle, world};

const FILE: &str = "services:
  web:
    ports: [\"127.0.0.1:PORT:80\"]
    environment: {LEVEL: info}
    volumes: [\"./data:/data\", \"store:/store\"]
    stop_grace_period: 1s
volumes: {store: {}}
";

struct Project {
    bundle: Bundle,
    name: String,
    port: u16,
}

impl Project {
    fn new(stem: &str, version: &str) -> Self {
        let (world, name) = (world(), world().name(stem));
        let bundle = Bundle::new("");
        let project = Self { bundle, name, port: world.port() };
        std::fs::create_dir_all(project.bundle.path().join("app/data")).unwrap();
        std::fs::write(project.bundle.path().join("app/data/.keep"), "").unwrap();
        let file = FILE.replace("PORT", &project.port.to_string());
        std::fs::write(project.bundle.path().join("app/compose.yml"), file).unwrap();
        project.bundle.docker_config("{}");
        let plugins = project.bundle.path().join("../../../docker-config/cli-plugins");
        std::fs::create_dir_all(&plugins).unwrap();
        let program = format!("target/tools/compose-{version}/usr/libexec/docker/cli-plugins/docker-compose");
        std::os::unix::fs::symlink(repository().join(program), plugins.join("docker-compose")).unwrap();
        project
    }

    /// Another deployment: its page and its tasks.
    fn next(&mut self, id: &str, page: &str, tasks: &str) -> &Bundle {
        let name = &self.name;
        web(&format!("{name}:1"), page).write_into(&self.bundle.path());
        let tasks: String = tasks.lines().map(|line| format!("  {line}\n")).collect();
        self.bundle.appspec(&format!(
            "version: 0.0\nos: linux\nhooks:\n  ApplicationStart: [{{location: hooks/balehook, timeout: 90}}]\nx-balehook:\n  \
             name: {name}\n  compose:\n    files: [app/compose.yml]\n    images: {{web: {{archive: image.tar}}}}\n  \
             health: {{http: \"http://127.0.0.1:{}/\", timeout: 30s}}\n{tasks}",
            self.port
        ));
        self.bundle.deployment(id)
    }

    fn all(&self) -> String {
        let filter = format!("label=com.docker.compose.project={}", self.name);
        world().docker(&["ps", "--all", "--no-trunc", "--quiet", "--filter", &filter])
    }

    fn page(&self) -> Option<String> {
        world().get(self.port, "/")
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        for container in self.all().split_whitespace() {
            let _ = world().docker_may_fail(&["rm", "--force", "--volumes", container]);
        }
    }
}

fn task(name: &str, script: &str, more: &str) -> String {
    format!("  - {{name: {name}, service: web, command: [/bin/sh, -c, '{}']{more}}}\n", script.replace('$', "$$"))
}

#[test]
fn tasks_of_a_project_run_once_as_one_of_its_services_and_their_failures_leave_or_put_back_the_old_one() {
    for version in ["2.26", "2.40"] {
        let mut project = Project::new("ptask", version);
        let migrate = "echo $LEVEL $EXTRA ${#DB_PASSWORD} > /data/migrated; echo there > /store/too; echo migrated";
        let extra = ", environment: {EXTRA: more, DB_PASSWORD: hunter2}";
        let tasks = format!(
            "before:\n{}after:\n{}",
            task("migrate", migrate, extra),
            task("smoke", "/bin/busybox wget -q -O - http://web/", ", required: true")
        );
        project.next("d-1", "one", &tasks).hook("ApplicationStart").exits(0);
        let read =
            |project: &Project, file: &str| world().docker(&["exec", &project.all(), "/bin/busybox", "cat", file]);
        assert_eq!(
            read(&project, "/data/migrated"),
            "info more 7",
            "{version}: the service's own variables and folders"
        );
        assert_eq!(read(&project, "/store/too"), "there", "{version}");
        let log = std::fs::read_to_string(project.bundle.state().join(&project.name).join("balehook.log")).unwrap();
        assert!(log.contains("migrated") && log.contains("one") && !log.contains("hunter2"), "{version}: {log}");
        let first = project.all();
        assert_eq!(first.lines().count(), 1, "{version}: nothing is left of a task");
        let again = project.next("d-2", "one", &tasks).hook("ApplicationStart");
        again.exits(0).says("unchanged");
        assert!(!again.stdout.contains("task "), "{version}: {}", again.stdout);

        let broken = format!("before:\n{}", task("migrate", "echo no such table; exit 3", ""));
        let outcome = project.next("d-3", "two", &broken).hook("ApplicationStart");
        outcome.exits(14).says("task migrate ended with exit code 3").says("| no such table");
        assert_eq!((project.all(), project.page().as_deref()), (first.clone(), Some("one")), "{version}");

        let smoke = format!("after:\n{}", task("smoke", "echo the page is wrong; exit 1", ", required: true"));
        project
            .next("d-4", "two", &smoke)
            .hook("ApplicationStart")
            .exits(14)
            .says("| the page is wrong")
            .says("is back");
        assert_eq!(project.page().as_deref(), Some("one"), "{version}");

        let slow = format!("before:\n{}", task("migrate", "echo waiting; sleep 1000", ""));
        let running_container = format!("{}.balehook-task-migrate", project.name);
        let container = |project: &Project| world().running(&project.name).split(' ').count();
        for (id, signal, code) in [("d-5", Signal::SIGTERM, Some(12)), ("d-6", Signal::SIGKILL, None)] {
            let mut running = project.next(id, "two", &slow).start("ApplicationStart");
            running.wait_until_said("task migrate");
            world().wait_for("the task", || container(&project) == 2);
            running.signal(signal);
            assert_eq!(running.wait().code, code, "{version}");
        }
        assert!(world().containers(&project.name).contains(&running_container), "{version}: a killed one leaves it");
        let fine = format!("before:\n{}", task("migrate", "echo fine", ""));
        project.next("d-7", "two", &fine).hook("ApplicationStart").exits(0);
        assert!(!world().containers(&project.name).contains("balehook-task"), "{version}");
        assert_eq!((project.page().as_deref(), container(&project)), (Some("two"), 1), "{version}");
    }
}
