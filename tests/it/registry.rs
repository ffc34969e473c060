//! Registries with TLS and credentials: the digest of a tag, the helper, ECR's own API.

use crate::compose::Project;
use crate::support::bundle::appspec;
use crate::support::images::web;
use crate::support::world::{ECR, OTHER, OTHER_PASSWORD, base64};
use crate::support::{Bundle, world};

const HEALTH: &str = "health: {http: /healthz, timeout: 20s}";

struct Pushed {
    bundle: Bundle,
    name: String,
    port: u16,
    digest: String,
}

/// Pushes an image as `registry/<name>:1` and makes the bundle that deploys it.
fn pushed(stem: &str, registry: &str) -> Pushed {
    let (name, port) = (world().name(stem), world().port());
    let digest = push(&name, registry, "1", "one");
    let service = format!("image: {registry}/{name}:1\nports: [\"127.0.0.1:{port}:80\"]\nstop_grace_period: 1s");
    Pushed { bundle: Bundle::container(&name, &service, HEALTH), name, port, digest }
}

pub fn push(name: &str, registry: &str, tag: &str, version: &str) -> String {
    let world = world();
    let scratch = tempfile::tempdir_in(world.folder()).unwrap();
    let local = format!("push-{name}:{tag}-{version}");
    let (archive, _) = web(&local, version).write_into(scratch.path());
    world.docker(&["load", "--input", archive.to_str().unwrap()]);
    let digest = world.push(registry, &local, &format!("{name}:{tag}"));
    world.docker(&["rmi", "--force", &local]);
    digest
}

#[test]
fn with_the_real_credential_helper_a_tag_is_resolved_once_and_its_digest_runs() {
    let mut pushed = pushed("helper", ECR);
    world().wait_for_port(5000);
    pushed.bundle.docker_config(&format!(r#"{{"credHelpers":{{"{ECR}":"ecr-login"}}}}"#));

    pushed.bundle.hook("AfterInstall").exits(0).says("docker pull");
    // The tag moves between two events of one deployment.
    push(&pushed.name, ECR, "1", "two");
    pushed.bundle.hook("ApplicationStart").exits(0).says(&pushed.digest[7..19]);

    let image = world().inspect(&pushed.name, "{{.Config.Image}}");
    assert_eq!(image, format!("{ECR}/{}@{}", pushed.name, pushed.digest));
    assert_eq!(world().get(pushed.port, "/").as_deref(), Some("one"));
    // The next deployment takes what the tag stands for then.
    pushed.bundle.deployment("d-TEST00002").hook("ApplicationStart").exits(0);
    assert_eq!(world().get(pushed.port, "/").as_deref(), Some("two"));
}

#[test]
fn an_ecr_host_without_any_docker_configuration_gets_a_token_from_ecrs_api() {
    let pushed = pushed("token", ECR);
    world().wait_for_port(5000);

    pushed.bundle.hook("ApplicationStart").exits(0).says("docker pull");

    assert_eq!(world().get(pushed.port, "/").as_deref(), Some("one"));
}

#[test]
fn a_wrapper_script_that_runs_the_helper_elsewhere_is_just_another_helper() {
    let pushed = pushed("wrapper", ECR);
    world().wait_for_port(5000);
    pushed.bundle.program(
        "docker-credential-wrapped",
        "#!/bin/sh\n# stands for: docker run -i --rm helper\nexec docker-credential-ecr-login \"$@\"\n",
    );
    pushed.bundle.docker_config(r#"{"credsStore":"wrapped"}"#);

    pushed.bundle.hook("ApplicationStart").exits(0);

    assert_eq!(world().get(pushed.port, "/").as_deref(), Some("one"));
}

#[test]
fn a_password_that_needs_the_last_two_letters_of_base64url_reaches_the_registry() {
    let pushed = pushed("auths", OTHER);
    let auth = base64(&format!("team:{OTHER_PASSWORD}"));
    pushed.bundle.docker_config(&format!(r#"{{"auths":{{"https://{OTHER}/v2/":{{"auth":"{auth}"}}}}}}"#));

    let outcome = pushed.bundle.hook("ApplicationStart");

    outcome.exits(0);
    assert!(!outcome.stdout.contains(&auth) && !outcome.stdout.contains(OTHER_PASSWORD));
    assert_eq!(world().get(pushed.port, "/").as_deref(), Some("one"));
}

#[test]
fn refused_credentials_are_said_and_nothing_is_asked_on_the_terminal() {
    let pushed = pushed("refused", OTHER);
    let auth = base64("team:wrong");
    pushed.bundle.docker_config(&format!(r#"{{"auths":{{"{OTHER}":{{"auth":"{auth}"}}}}}}"#));

    let outcome = pushed.bundle.hook("AfterInstall");

    outcome.exits(6).says(&format!("cannot get {OTHER}/{}:1", pushed.name)).says("check the registry's credentials");
    assert!(!outcome.stdout.contains(&auth));
}

#[test]
fn a_helper_that_gives_nothing_is_said_with_its_name() {
    let pushed = pushed("mute", ECR);
    pushed
        .bundle
        .program("docker-credential-mute", "#!/bin/sh\necho credentials not found in native keychain\nexit 1\n");
    pushed.bundle.docker_config(&format!(r#"{{"credHelpers":{{"{ECR}":"mute"}}}}"#));

    pushed
        .bundle
        .hook("AfterInstall")
        .exits(6)
        .says("docker-credential-mute gave no credentials")
        .says("credentials not found");
}

#[test]
fn a_missing_tag_is_said_by_name() {
    let pushed = pushed("tag", OTHER);
    let auth = base64(&format!("team:{OTHER_PASSWORD}"));
    pushed.bundle.docker_config(&format!(r#"{{"auths":{{"{OTHER}":{{"auth":"{auth}"}}}}}}"#));
    let service = format!("image: {OTHER}/{}:9", pushed.name);
    pushed.bundle.appspec(&crate::support::bundle::appspec(&pushed.name, &service, "health: {timeout: 3s}"));

    pushed
        .bundle
        .hook("BeforeInstall")
        .exits(6)
        .says(&format!("{OTHER}/{}:9", pushed.name))
        .says("was that tag or digest pushed");
}

#[test]
fn a_registry_that_is_gone_leaves_the_old_container_untouched() {
    let pushed = pushed("vanish", ECR);
    world().wait_for_port(5000);
    pushed.bundle.hook("ApplicationStart").exits(0);
    let old = world().inspect(&pushed.name, "{{.Id}}");
    let service = format!("image: 127.0.0.1:9/{}:2\nports: [\"127.0.0.1:{}:80\"]", pushed.name, pushed.port);
    pushed.bundle.appspec(&crate::support::bundle::appspec(&pushed.name, &service, HEALTH));

    pushed.bundle.hook("ApplicationStart").exits(6).says("connection refused").says("can this host reach the registry");

    assert_eq!(world().running(&pushed.name), old);
}

#[test]
fn an_image_that_the_engine_has_is_taken_without_a_registry_where_the_revision_or_its_compose_file_says_so() {
    let (world, name) = (world(), world().name("baked"));
    let reference = format!("nowhere.test:5999/{name}:1");
    let archive = world.folder().join(format!("{name}.tar"));
    web(&reference, "one").write(&archive);
    let bake = || world.docker(&["load", "--input", archive.to_str().unwrap()]);
    let port = world.port();
    let service = |pull: &str| {
        format!(
            "image: {{reference: \"{reference}\", pull: {pull}}}\nports: [\"127.0.0.1:{port}:80\"]\nstop_grace_period: 1s"
        )
    };
    let health = "health: {http: /healthz, timeout: 20s}";
    let mut bundle = Bundle::container(&name, &service("never"), health);
    bundle
        .hook("BeforeInstall")
        .exits(6)
        .says(&format!("the engine has no image {reference}, and `pull: never` forbids to pull it"));

    bake();
    bundle.run(&["plan"]).exits(0).prints(&format!("note: {reference} (sha256:"));
    for event in ["BeforeInstall", "AfterInstall", "ApplicationStart", "ValidateService"] {
        bundle.hook(event).exits(0);
    }
    assert_eq!(world.get(port, "/").as_deref(), Some("one"));
    bundle.appspec(&appspec(&name, &service("missing"), health));
    bundle.deployment("d-TEST00002").hook("ApplicationStart").exits(0).says("unchanged");
    assert_eq!(world.get(port, "/").as_deref(), Some("one"));

    let file = format!(
        "services:\n  web:\n    image: {reference}\n    pull_policy: if_not_present\n    ports: [\"127.0.0.1:PORT:80\"]\n"
    );
    let project = Project::new("bakedp", &file, "");
    project.start().exits(0);
    assert_eq!(project.page().as_deref(), Some("one"));
}

#[test]
fn a_rollback_and_a_redeployment_take_the_images_of_kept_releases_where_the_registry_gives_no_answer() {
    let mut it = pushed("kept", OTHER);
    push(&it.name, OTHER, "2", "two");
    let log_in = |bundle: &Bundle, password: &str| {
        let auth = base64(&format!("team:{password}"));
        bundle.docker_config(&format!(r#"{{"auths":{{"{OTHER}":{{"auth":"{auth}"}}}}}}"#));
    };
    let service = |tag: u8| format!("image: {OTHER}/{}:{tag}\nports: [\"127.0.0.1:{}:80\"]", it.name, it.port);
    let appspecs = [1, 2, 3].map(|tag| crate::support::bundle::appspec(&it.name, &service(tag), HEALTH));
    log_in(&it.bundle, OTHER_PASSWORD);
    it.bundle.hook("ApplicationStart").exits(0);
    it.bundle.appspec(&appspecs[1]);
    it.bundle.deployment("d-2").hook("ApplicationStart").exits(0);

    log_in(&it.bundle, "another one by now");
    it.bundle.deployment("d-3").hook("ApplicationStart").exits(0).says("unchanged").says("of a kept release is taken");
    it.bundle.appspec(&appspecs[0]);
    it.bundle.run(&["plan"]).exits(0).prints("of a kept release is taken").prints(&it.digest[..19]);
    ["BeforeInstall", "AfterInstall", "ApplicationStart", "ValidateService"].iter().for_each(|event| {
        it.bundle.deployment("d-4").hook(event).exits(0);
    });
    assert_eq!(world().get(it.port, "/").as_deref(), Some("one"));

    it.bundle.appspec(&appspecs[2]);
    it.bundle.deployment("d-5").hook("ApplicationStart").exits(6).says("check the registry's credentials");
}
