//! `packaging/ci/deploy.sh`, which all recipes for CI share: with a real engine and registry, the AWS CLI, and moto for AWS.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::OnceLock;

use serde_json::Value;

use crate::support::codedeploy::{Aws, header, text};
use crate::support::iam::{Need, Policy};
use crate::support::world::{repository, tools};
use crate::support::{Bundle, world};

const REGISTRY: &str = "123456789012.dkr.ecr.eu-west-1.amazonaws.com";

/// A tar.gz with the program and the shim, as `make dist` lays it out, and its SHA-256.
fn tarball() -> &'static (PathBuf, String) {
    static TARBALL: OnceLock<(PathBuf, String)> = OnceLock::new();
    TARBALL.get_or_init(|| {
        let folder = world().folder().join("balehook-dist");
        let script = "mkdir -p \"$0/dist/bin\" \"$0/dist/share/balehook/hooks\"
            strip -o \"$0/dist/bin/balehook\" \"$1\" && cp hooks/balehook \"$0/dist/share/balehook/hooks/\"
            tar -c -C \"$0\" dist | gzip -1 >\"$0/balehook.tar.gz\" && sha256sum \"$0/balehook.tar.gz\"";
        let mut command = Command::new("sh");
        command.args(["-ec", script]).arg(&folder).arg(env!("CARGO_BIN_EXE_balehook")).current_dir(repository());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        let sum = text(&output.stdout).split_whitespace().next().unwrap().to_owned();
        (folder.join("balehook.tar.gz"), sum)
    })
}

/// A person's repository with a web server's Dockerfile and a revision, on a runner of CI.
struct Repository {
    folder: tempfile::TempDir,
    port: u16,
    name: String,
}

impl Repository {
    fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("Web App-").tempdir_in(world().folder()).unwrap();
        let repository_ = Self { folder, port: world().port(), name: world().name("recipe") };
        let path = |name: &str| repository_.folder.path().join(name);
        for folder in ["image/bin", "image/www", "revision/conf", "revision/hooks"] {
            std::fs::create_dir_all(path(folder)).unwrap();
        }
        std::fs::copy("/bin/busybox", path("image/bin/busybox")).unwrap();
        std::fs::copy(repository().join("hooks/balehook"), path("revision/hooks/balehook")).unwrap();
        // No two tests share a layer: one removes its image while another one builds.
        std::fs::write(path("image/bin/name"), &repository_.name).unwrap();
        std::fs::write(path("image/www/index.html"), format!("{}\n", repository_.name)).unwrap();
        let dockerfile = "FROM scratch\nCOPY bin /bin\nCOPY www /www\nCMD [\"/bin/busybox\", \"httpd\", \"-f\", \"-p\", \"80\", \"-h\", \"/www\"]\n";
        std::fs::write(path("image/Dockerfile"), dockerfile).unwrap();
        repository_.appspec("built-by:ci", "");
        std::fs::write(path("revision/conf/prod.env"), "LEVEL=info\n").unwrap();
        std::os::unix::fs::symlink("conf", path("revision/linked")).unwrap();
        repository_
    }

    fn appspec(&self, image: &str, more: &str) {
        let (name, port) = (&self.name, self.port);
        let events = ["AfterInstall", "ApplicationStart", "ValidateService"];
        let hooks = events.map(|event| format!("  {event}: [{{location: hooks/balehook, timeout: 60}}]\n")).concat();
        let service =
            format!("image: {image}\n    ports: [\"127.0.0.1:{port}:80\"]\n    env_file: [conf/prod.env]\n{more}");
        let text = format!(
            "version: 0.0\nos: linux\nhooks:\n{hooks}x-balehook:\n  name: {name}\n  container:\n    {service}  health: {{http: /, timeout: 20s}}\n"
        );
        std::fs::write(self.folder.path().join("revision/appspec.yml"), text).unwrap();
    }

    fn commit(&self) -> String {
        format!("c0ffee{}", self.name)
    }

    /// Runs `deploy.sh` in the world's network, with its hosts.
    fn runs(&self, aws: &Aws, args: &[&str], more: &[(&str, &str)]) -> Output {
        let (archive, sum) = tarball();
        let mut command = Command::new("nsenter");
        let world_ = world().pid().to_string();
        let (folder, script) = (self.folder.path(), repository().join("packaging/ci/deploy.sh"));
        command.args(["--net", "--mount", "--target", &world_, "--", "bash", "-c", "cd \"$0\" && exec \"$@\""]);
        command.arg(folder).arg(script).args(args).env_clear().envs(aws.variables());
        let commands = folder.join("commands");
        std::fs::create_dir_all(&commands).unwrap();
        let _ = std::os::unix::fs::symlink(tools().join("venv/bin/aws"), commands.join("aws"));
        command
            .env("PATH", format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", commands.display()))
            .env("HOME", folder)
            .env("DOCKER_HOST", world().docker_host())
            .env("DOCKER_CONFIG", folder.join(".docker"))
            .env("BALEHOOK_URL", format!("file://{}", archive.display()))
            .env("BALEHOOK_SHA256", sum)
            .env("CONTEXT", "image")
            .env("BUNDLE", "revision")
            .env("COMMIT", self.commit())
            .env("REPOSITORY", format!("{REGISTRY}/{}", self.name))
            .env("RELEASES", "s3://releases/shop")
            .env("APPLICATION", "web")
            .env("DEPLOYMENT_GROUP", "prod")
            .envs(more.iter().copied());
        command.output().unwrap()
    }

    #[track_caller]
    fn succeeds(&self, aws: &Aws, args: &[&str], more: &[(&str, &str)]) -> String {
        let output = self.runs(aws, args, more);
        assert!(output.status.success(), "{}\n{}", text(&output.stdout), text(&output.stderr));
        text(&output.stdout) + &text(&output.stderr)
    }

    /// The bundle in S3: each file's mode, by its name.
    fn pushed(&self, aws: &Aws) -> (Bundle, Vec<String>) {
        let zip = self.folder.path().join("pushed.zip");
        aws.object(&format!("releases/shop/bundles/web-{}.zip", self.commit()), &zip);
        let bundle = Bundle::new("");
        let script = "import sys, zipfile; z = zipfile.ZipFile(sys.argv[1]); z.extractall(sys.argv[2])
for one in sorted(z.infolist(), key=lambda one: one.filename): print(oct(one.external_attr >> 16 & 0o777)[2:], one.filename)";
        let output = Command::new("python3").args(["-c", script]).arg(&zip).arg(bundle.path()).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        (bundle, text(&output.stdout).lines().map(str::to_owned).collect())
    }
}

/// What the bundle in S3 holds, and that it serves on a host as it is. With the bundle its container goes.
#[track_caller]
fn deploys(repository_: &Repository, aws: &Aws, image: &str) -> Bundle {
    let (mut bundle, files) = repository_.pushed(aws);
    assert_eq!(files, ["644 appspec.yml", "644 conf/prod.env", "755 hooks/balehook", "644 linked/prod.env"]);
    let appspec = std::fs::read_to_string(bundle.path().join("appspec.yml")).unwrap();
    assert!(appspec.contains(&format!("    image: {image}\n")), "{image} is not in\n{appspec}");
    bundle.env("AWS_ENDPOINT_URL_S3", &aws.url()).env("AWS_ENDPOINT_URL", &aws.url());
    for event in ["AfterInstall", "ApplicationStart", "ValidateService"] {
        bundle.hook(event).exits(0);
    }
    assert_eq!(world().get(repository_.port, "/").as_deref(), Some(repository_.name.as_str()));
    bundle
}

/// The revision that CodeDeploy was given is the object that was pushed, by its ETag.
#[track_caller]
fn is_deployed(repository_: &Repository, aws: &Aws, said: &str) {
    let id = said.split("deployment ").nth(1).unwrap().split(' ').next().unwrap();
    assert!(said.contains(&format!("deploy.sh: deployment {id} has succeeded\n")), "{said}");
    let info: Value = serde_json::from_str(&aws.cli(&["deploy", "get-deployment", "--deployment-id", id])).unwrap();
    let (key, info) = (format!("shop/bundles/web-{}.zip", repository_.commit()), &info["deploymentInfo"]);
    let etag = header(&aws.object(&format!("releases/{key}"), std::path::Path::new("/dev/null")), "etag");
    let wanted = serde_json::json!({ "bucket": "releases", "key": key, "bundleType": "zip", "eTag": etag });
    assert_eq!((&info["revision"]["s3Location"], &info["deploymentGroupName"]), (&wanted, &Value::from("prod")));
}

/// What a call needs; nothing for STS, whose role says in its trust policy who may assume it.
fn need(call: &str) -> Option<Need> {
    let codedeploy = |rest: &str| format!("arn:aws:codedeploy:eu-west-1:123456789012:{rest}");
    Some(match call.split(' ').collect::<Vec<_>>()[..] {
        ["sts", _] => return None,
        ["s3", "PUT" | "POST", path] => Need::new("s3:PutObject", format!("arn:aws:s3:::{}", &path[1..])),
        ["s3", "GET" | "HEAD", path] => Need::new("s3:GetObject", format!("arn:aws:s3:::{}", &path[1..])),
        ["ecr", "GetAuthorizationToken"] => Need::new("ecr:GetAuthorizationToken", "*"),
        ["ecr", action] => Need::new(&format!("ecr:{action}"), "arn:aws:ecr:eu-west-1:123456789012:repository/web"),
        ["codedeploy", action @ "RegisterApplicationRevision"] => {
            Need::new(&format!("codedeploy:{action}"), codedeploy("application:web"))
        }
        ["codedeploy", action] => Need::new(&format!("codedeploy:{action}"), codedeploy("deploymentgroup:web/prod")),
        _ => panic!("{call}"),
    })
}

/// Asserts that the calls are these, without regard to how often, and that the policy of the pipeline allows them.
#[track_caller]
fn calls_are(aws: &Aws, wanted: &[&str]) {
    let policy = Policy::read("ci.json", "releases", "web");
    let needs: BTreeSet<Need> = aws.calls().iter().filter_map(|call| need(call)).collect();
    for need in &needs {
        assert!(policy.allows(need).is_some(), "packaging/iam/ci.json does not allow {need}");
    }
    let made: BTreeSet<&str> = needs.iter().map(|need| need.action.as_str()).collect();
    assert_eq!(made.into_iter().collect::<Vec<_>>(), wanted);
}

#[test]
fn an_image_is_built_pushed_to_ecr_and_deployed_by_its_digest_with_a_role_that_a_job_of_github_assumes() {
    if world().has_containerd_store() {
        return; // the store of images makes no difference to it, and CI has little time
    }
    let repository_ = Repository::new();
    let aws = Aws::start(&repository_.name);
    let request = format!("{}/oidc?job=1", aws.url());
    let job = [
        ("AWS_ACCESS_KEY_ID", ""),
        ("AWS_SECRET_ACCESS_KEY", ""),
        ("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/deploy"),
        ("ACTIONS_ID_TOKEN_REQUEST_URL", &request),
        ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "request-token"),
    ];
    let (name, build) = (&repository_.name, || repository_.succeeds(&aws, &["release", "--via", "ecr"], &job));
    let said = world().pushing(name, build);
    let tag = format!("{REGISTRY}/{name}:{}", repository_.commit());
    let image = world().docker(&["image", "inspect", "--format", "{{index .RepoDigests 0}}", &tag]);
    assert!(said.contains(&format!("its image is {image}\n")) && !said.contains("a.job.token"), "{said}");
    let built = |file: &str| -> Value {
        serde_json::from_slice(&std::fs::read(repository_.folder.path().join("build").join(file)).unwrap()).unwrap()
    };
    let (_, digest) = image.split_once('@').unwrap();
    let detail = serde_json::json!({ "ImageURI": image, "ImageDigest": digest, "ImageTags": [repository_.commit()] });
    assert_eq!(built("imageDetail.json"), detail);
    assert_eq!(built("imagedefinitions.json"), serde_json::json!([{ "name": name, "imageUri": image }]));
    assert!(!repository_.folder.path().join("build/token").exists());
    calls_are(&aws, &["ecr:BatchGetImage", "ecr:GetAuthorizationToken"]);

    let said = repository_.succeeds(&aws, &["deploy"], &job);
    let calls = [
        "codedeploy:CreateDeployment",
        "codedeploy:GetDeployment",
        "codedeploy:RegisterApplicationRevision",
        "s3:PutObject",
    ];
    calls_are(&aws, &calls);
    is_deployed(&repository_, &aws, &said);
    // The host pulls what the pipeline pushed, not what lies in this engine.
    world().docker(&["rmi", &tag]);
    deploys(&repository_, &aws, &image);

    // moto's ECR is not the registry: it is told of an image of the same commit.
    let empty = r#"{"schemaVersion": 2, "mediaType": "application/vnd.docker.distribution.manifest.v2+json", "config": {"mediaType": "application/vnd.docker.container.image.v1+json", "size": 2, "digest": "sha256:0"}, "layers": []}"#;
    let commit = repository_.commit();
    let put = ["ecr", "put-image", "--repository-name", name, "--image-tag", &commit, "--image-manifest", empty];
    let put: Value = serde_json::from_str(&aws.cli(&put)).unwrap();
    let known = put["image"]["imageId"]["imageDigest"].as_str().unwrap();
    std::fs::write(repository_.folder.path().join("image/Dockerfile"), "this is not built again").unwrap();
    let again = repository_.succeeds(&aws, &["release", "--via", "ecr"], &[]);
    assert!(again.contains(&format!("its image is {REGISTRY}/{name}@{known}\n")), "{again}");
}

#[test]
fn an_image_is_saved_to_s3_once_for_each_commit_and_deployed_by_its_id() {
    let repository_ = Repository::new();
    let aws = Aws::start(&repository_.name);
    let said = repository_.succeeds(&aws, &["release", "--via", "s3"], &[("NAME", &repository_.name)]);
    calls_are(&aws, &["s3:GetObject", "s3:PutObject"]);
    let (name, commit) = (&repository_.name, repository_.commit());
    let key = format!("shop/images/{name}-{commit}.tar");
    let id = header(&aws.object(&format!("releases/{key}"), std::path::Path::new("/dev/null")), "x-amz-meta-id");
    let image = format!("{{archive: \"s3://releases/{key}\", reference: \"{name}:{commit}\", id: \"{id}\"}}");
    assert!(said.contains(&format!("its image is {image}\n")), "{said}");
    world().docker(&["rmi", &format!("{name}:{commit}")]);
    let deployed = repository_.succeeds(&aws, &["deploy"], &[("NAME", name)]);
    is_deployed(&repository_, &aws, &deployed);
    let host = deploys(&repository_, &aws, &image);
    assert_eq!(world().config_digest(name), id);
    drop(host);

    aws.calls();
    std::fs::write(repository_.folder.path().join("image/Dockerfile"), "this is not built again").unwrap();
    let again = repository_.succeeds(&aws, &["release", "--via", "s3"], &[("NAME", name)]);
    assert!(again.contains(&format!("its image is {image}\n")), "{again}");
    calls_are(&aws, &["s3:GetObject"]);
}

#[test]
fn a_deployment_that_fails_ends_with_what_the_console_shows_of_the_first_three_instances() {
    if world().has_containerd_store() {
        return; // the store of images makes no difference to it, and CI has little time
    }
    let repository_ = Repository::new();
    let aws = Aws::start(&repository_.name);
    let detail = repository_.folder.path().join("imageDetail.json");
    let digest = format!("sha256:{}", "1".repeat(64));
    // As an ECR source action of CodePipeline writes it.
    let source = format!(
        "{{\"ImageSizeInBytes\":\"1\",\"ImageDigest\":\"{digest}\",\"Version\":\"1.0\",\"RepositoryName\":\"web\",\"ImageURI\":\"{REGISTRY}/web:latest\",\"ImageTags\":[\"latest\"]}}"
    );
    std::fs::write(&detail, source).unwrap();
    let said = repository_.succeeds(&aws, &["release", "--image-detail", "imageDetail.json"], &[]);
    assert!(said.contains(&format!("its image is {REGISTRY}/web@{digest}\n")), "{said}");

    let more = [("DEPLOYMENT_GROUP", "broken"), ("DEPLOYMENT_CONFIG", "CodeDeployDefault.OneAtATime")];
    let output = repository_.runs(&aws, &["deploy"], &more);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    let tail = said.split("deployment is Failed ").nth(1).unwrap_or_else(|| panic!("{said}"));
    let instance = |id: &str| {
        format!(
            "deploy.sh: instance {id} failed:\nApplicationStart\nScriptFailed\nhooks/balehook\nScript at specified location: hooks/balehook failed with exit code 8\n\
             [stderr]ApplicationStart of web failed at step 6 of 8: check health of web\n[stderr]  | cannot reach the database\n\
             [stderr]balehook: error: web exited with code 3 (exit code 8)\n"
        )
    };
    let wanted = "HEALTH_CONSTRAINTS too many individual instances failed\n".to_owned()
        + &["i-0a", "i-0b", "i-0c"].map(instance).concat();
    assert_eq!(tail, wanted);
    let calls = [
        "codedeploy:CreateDeployment",
        "codedeploy:GetDeployment",
        "codedeploy:GetDeploymentTarget",
        "codedeploy:ListDeploymentTargets",
        "codedeploy:RegisterApplicationRevision",
        "s3:PutObject",
    ];
    calls_are(&aws, &calls);
}

#[test]
fn a_review_shows_every_problem_on_its_line_and_writes_the_plan_of_what_changes_without_asking_aws() {
    let (aws, repository_) = (Aws::nowhere(), Repository::new());
    let git = |args: &[&str]| {
        let mut command = Command::new("git");
        let identity = ["-c", "user.name=tests", "-c", "user.email=tests@example.com"];
        let output = command.args(identity).args(args).current_dir(&repository_.folder).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
    };
    for args in [&["init", "--quiet"][..], &["add", "revision"], &["commit", "--quiet", "--message", "base"]] {
        git(args);
    }
    repository_.appspec("built-by:ci", "    restart: always\n");
    let summary = repository_.folder.path().join("summary.md");
    let github = [("GITHUB_ACTIONS", "true"), ("GITHUB_STEP_SUMMARY", summary.to_str().unwrap()), ("BASE", "HEAD")];
    repository_.succeeds(&aws, &["review"], &github);
    let plan = std::fs::read_to_string(repository_.folder.path().join("plan.md")).unwrap();
    assert!(
        plan.contains("\n| | option | what changes |\n|---|---|---|\n| `+` | `restart` | `always` |\n\n"),
        "{plan}"
    );
    assert_eq!(std::fs::read_to_string(&summary).unwrap(), plan);

    repository_.appspec("built-by:ci", "    restrat: always\n");
    let output = repository_.runs(&aws, &["review"], &github);
    let (said, plan) =
        (text(&output.stdout), std::fs::read_to_string(repository_.folder.path().join("plan.md")).unwrap());
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("revision/appspec.yml,line=13,col=5,title=unknown-key::unknown key"), "{said}");
    assert!(plan.starts_with("### balehook plan\n\n**Would fail:** `"), "{plan}");
}

#[test]
fn nothing_is_deployed_of_another_program_or_of_a_revision_that_names_no_place_for_the_image() {
    let (aws, repository_) = (Aws::nowhere(), Repository::new());
    let other = "0".repeat(64);
    let output = repository_.runs(&aws, &["release", "--via", "s3"], &[("BALEHOOK_SHA256", &other)]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("is not the file of BALEHOOK_SHA256: nothing is deployed"),
        "{}",
        text(&output.stderr)
    );

    repository_.appspec("registry.test/web:1", "");
    std::fs::write(repository_.folder.path().join("imageDetail.json"), "{\"ImageURI\": \"a.test/web:1\"}").unwrap();
    let output = repository_.runs(&aws, &["release", "--image-detail", "imageDetail.json"], &[]);
    assert!(
        text(&output.stderr).contains("imageDetail.json has no ImageDigest, and a tag is not deployed"),
        "{}",
        text(&output.stderr)
    );
    let detail = format!("{{\"ImageURI\": \"a.test/web@sha256:{other}\"}}");
    std::fs::write(repository_.folder.path().join("imageDetail.json"), detail).unwrap();
    let output = repository_.runs(&aws, &["release", "--image-detail", "imageDetail.json"], &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("appspec.yml has no `image: built-by:ci`"), "{}", text(&output.stderr));
}

/// The facts of docs/src/ci.md.
#[test]
fn aws_deploy_push_puts_in_everything_follows_links_to_files_alone_and_keeps_modes() {
    if world().has_containerd_store() {
        return; // the store of images makes no difference to it, and CI has little time
    }
    let repository_ = Repository::new();
    let aws = Aws::start(&repository_.name);
    let revision = repository_.folder.path().join("revision");
    let script = "mkdir .git bin empty && touch .git/HEAD .hidden && ln -s conf/prod.env linked.env
        touch bin/balehook && chmod 755 bin/balehook && chmod 600 conf/prod.env";
    assert!(Command::new("sh").args(["-ec", script]).current_dir(&revision).status().unwrap().success());
    let push = |more: &[&str]| {
        let object = format!("s3://releases/shop/bundles/web-{}.zip", repository_.commit());
        let to = ["deploy", "push", "--application-name", "web", "--s3-location", &object, "--source"];
        let said = aws.cli(&[&to[..], &[revision.to_str().unwrap()], more].concat());
        assert!(said.contains(",bundleType=zip,eTag="), "{said}");
        repository_.pushed(&aws).1
    };
    let all = [
        "644 .git/HEAD", "644 .hidden", "644 appspec.yml", "755 bin/balehook", "600 conf/prod.env",
        "755 hooks/balehook", "600 linked.env",
    ];
    assert_eq!(push(&[]), all);
    assert_eq!(push(&["--ignore-hidden-files"]), all[2..]);
    let old =
        Command::new("touch").args(["-d", "1979-12-31", "conf/prod.env"]).current_dir(&revision).status().unwrap();
    assert!(old.success());
    let refused = std::panic::catch_unwind(|| push(&[])).unwrap_err();
    let said = refused.downcast_ref::<String>().unwrap();
    assert!(said.contains("ZIP does not support timestamps before 1980"), "{said}");
    let detail = format!("{{\"ImageURI\": \"a.test/web@sha256:{}\"}}", "1".repeat(64));
    std::fs::write(repository_.folder.path().join("imageDetail.json"), detail).unwrap();
    repository_.succeeds(&aws, &["release", "--image-detail", "imageDetail.json"], &[]);
    repository_.succeeds(&aws, &["deploy"], &[]);
    let files = [
        "644 .hidden", "644 appspec.yml", "755 bin/balehook", "600 conf/prod.env", "755 hooks/balehook",
        "600 linked.env", "600 linked/prod.env",
    ];
    assert_eq!(repository_.pushed(&aws).1, files);
}
