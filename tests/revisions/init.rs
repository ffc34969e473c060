//! `balehook init`.

use std::fs;

use crate::{balehook, files};

#[test]
fn each_mode_passes_a_strict_check_and_its_plan_can_be_made() {
    for (mode, first) in [("container", "appspec.yml"), ("compose", "app/.env"), ("swarm", "appspec.yml")] {
        let folder = tempfile::tempdir().unwrap();
        let (code, said) = balehook(folder.path(), &["init", mode]);
        assert!(code == 0 && said.starts_with("wrote ./appspec.yml\n"), "{said}");
        assert!(files(folder.path()).iter().any(|(name, _)| name == first), "{mode}");
        let (code, said) = balehook(folder.path(), &["check", "--strict"]);
        assert!(code == 0 && said.ends_with(": no problems\n"), "{mode}: {said}");
        let (_, said) = balehook(folder.path(), &["plan", "--offline"]);
        let lacks =
            said.lines().filter(|line| line.contains("would fail") && !line.contains("no Compose on this host"));
        assert!(said.contains("docker pull nginx:1.28.0-alpine") && lacks.count() == 0, "{mode}: {said}");
    }
}

#[test]
fn with_an_image_that_is_named_each_mode_deploys_it() {
    for mode in ["container", "compose", "swarm"] {
        for image in ["host.test/team/web:1.4.2", "s3://releases/web.tar"] {
            let folder = tempfile::tempdir().unwrap();
            assert_eq!(balehook(folder.path(), &["init", mode, "--image", image]).0, 0);
            let (code, said) = balehook(folder.path(), &["check", "--strict"]);
            assert!(code == 0 && said.ends_with(": no problems\n"), "{mode}: {said}");
            let written = files(folder.path()).into_iter().find(|(name, _)| name == "appspec.yml").unwrap().1;
            assert!(written.contains(image) && !written.contains("archive: image.tar #"), "{written}");
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let (code, said) = balehook(folder.path(), &["init", "--image", "web: {x}"]);
    assert_eq!((code, files(folder.path()).len()), (64, 0), "{said}");
}

#[test]
fn a_file_that_is_there_is_named_and_nothing_is_written() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("conf")).unwrap();
    fs::write(folder.path().join("conf/motd"), "mine").unwrap();
    std::os::unix::fs::symlink("/nowhere", folder.path().join("appspec.yml")).unwrap();
    let (code, said) = balehook(folder.path(), &["init", "swarm"]);
    let wanted = "next: name another folder: `--output DIR`\n\
                  balehook: error: . has already: appspec.yml, conf/motd; nothing was written (exit code 64)\n";
    assert_eq!((code, said.as_str()), (64, wanted));
    fs::remove_file(folder.path().join("appspec.yml")).unwrap();
    assert_eq!(files(folder.path()), [("conf/motd".to_owned(), "mine".to_owned())]);
}

const PROJECT: &str = "name: shop
services:
  web:
    build: .
    image: shop/web
    ports: ['${PORT:-8080}:80', '8443:443/udp', '127.0.0.1:8081:81']
    env_file: [web.env, {path: not-needed.env, required: false}]
    volumes: ['./conf:/conf:ro', '../up:/up', 'data:/data', '~/keys:/keys', {type: bind, source: ./html, target: /html}]
  db: {image: 'postgres:17', env_file: 'db-${STAGE}.env', extends: {file: base.yml, service: db}}
configs: {proxy: {file: ./conf/proxy.conf}}
volumes: {data: {}}
";

#[test]
fn around_a_compose_file_it_tells_what_the_bundle_lacks() {
    let folder = tempfile::tempdir().unwrap();
    let project = folder.path().join("My Shop");
    fs::create_dir_all(project.join("conf")).unwrap();
    fs::create_dir(project.join("html")).unwrap();
    for (name, text) in [("docker-compose.yml", PROJECT), ("conf/proxy.conf", ""), (".env", "STAGE=prod")] {
        fs::write(project.join(name), text).unwrap();
    }
    let args = ["init", "--from-compose", "My Shop/docker-compose.yml", "--output", "new"];
    let (code, said) = balehook(folder.path(), &args);
    let wanted = "wrote new/appspec.yml
wrote new/app/docker-compose.yml
wrote new/hooks/balehook
note: web has `build:`: nothing is built on the host: push its image, and name it under `images:` of appspec.yml
note: web: volumes: ./conf is not in the bundle: `cp --recursive 'My Shop/conf' new/app/conf`
note: web: volumes: ../up leaves the project's folder, which is refused: move it into that folder
note: web: volumes: ~/keys is in a home folder: hooks have none; name the whole path
note: web: volumes: ./html is not in the bundle: `cp --recursive 'My Shop/html' new/app/html`
note: web: env_file: web.env is not in the bundle, and not beside the Compose file
note: db: env_file: whether db-${STAGE}.env is in the bundle depends on a variable
note: db: extends: base.yml is not in the bundle, and not beside the Compose file
note: configs: ./conf/proxy.conf is not in the bundle: `cp --recursive 'My Shop/conf/proxy.conf' new/app/conf/proxy.conf`
note: .env is not in the bundle: `cp --recursive 'My Shop/.env' new/app/.env`
next: `balehook check new`, and `balehook plan` in that folder
";
    assert_eq!(said, wanted);
    assert_eq!(code, 0);
    let written = files(&folder.path().join("new"));
    let names: Vec<&str> = written.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["app/docker-compose.yml", "appspec.yml", "hooks/balehook"]);
    assert_eq!(written[0].1, PROJECT);
    let section = written[1].1.split_once("x-balehook:\n").unwrap().1;
    let wanted = "  name: shop # the project's name, as `docker compose ls` lists it
  compose:
    files: [app/docker-compose.yml]
    # images: # nothing is built on the host: name what was pushed
    #   web: host/web:tag
  health:
    tcp: \"127.0.0.1:8081\" # a page says more: `http: http://127.0.0.1:8081/healthz`
  keep: 3
";
    assert_eq!(section, wanted);
    let (_, said) = balehook(folder.path(), &["check", "new"]);
    assert!(!said.contains("appspec.yml:"), "{said}");
}

#[test]
fn a_compose_file_that_lies_in_the_bundle_stays_where_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let service = "{image: 'a.test/worker:1', restart: always, logging: {driver: local}}";
    fs::create_dir(folder.path().join("project")).unwrap();
    fs::write(folder.path().join("project/compose.yaml"), format!("services: {{worker: {service}}}\n")).unwrap();
    let (code, said) = balehook(folder.path(), &["init", "compose", "--from-compose", "project/compose.yaml"]);
    let wanted = "wrote ./appspec.yml\nwrote ./hooks/balehook\n\
                  next: `balehook check`, and `balehook plan` in that folder\n";
    assert_eq!((code, said.as_str()), (0, wanted));
    let (code, said) = balehook(folder.path(), &["check", "--strict"]);
    assert!(code == 0 && said.ends_with(": no problems\n"), "{said}");
    for wrong in [&["init", "swarm", "--from-compose", "project/compose.yaml"][..], &["init", "--from-compose", "none"]]
    {
        assert_eq!(balehook(folder.path(), wrong).0, 64);
    }
}
