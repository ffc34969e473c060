//! What `packaging/iam` allows is what the program asks for. Every bundle of these tests answers for its calls when it goes.

use std::collections::BTreeSet;

use crate::registry::push;
use crate::support::bundle::appspec;
use crate::support::calls::{Call, Heads, Service};
use crate::support::iam::{Need, Policy};
use crate::support::images::web;
use crate::support::world::ECR;
use crate::support::{Bundle, world};

/// Actions that no test sees, and why an instance has them.
const UNSEEN: [(&str, &str, &str); 16] = [
    ("GetPublicRegistryToken", "ecr-public:GetAuthorizationToken", "a scripted server is asked in the unit tests"),
    ("GetPublicRegistryToken", "sts:GetServiceBearerToken", "the public gallery asks for it with that token"),
    ("TellOfDeployments", "sns:Publish", "moto's SNS is asked in tests/notify.rs, where nothing is recorded"),
    ("ReadParameters", "ssm:GetParameters", "moto is asked in values.rs, where the calls are compared"),
    ("ReadParameters", "ssm:GetParametersByPath", "moto is asked in values.rs, where the calls are compared"),
    ("ReadSecrets", "secretsmanager:GetSecretValue", "moto is asked in values.rs, where the calls are compared"),
    (
        "ReadSecretsTogether",
        "secretsmanager:BatchGetSecretValue",
        "moto is asked in values.rs, where the calls are compared",
    ),
    ("DecryptValues", "kms:Decrypt", "moto is asked in values.rs, where the calls are compared"),
    ("DecryptObjects", "kms:Decrypt", "S3 asks KMS for an object that is encrypted; this S3 server has no KMS"),
    (
        "PullImages",
        "ecr:BatchCheckLayerAvailability",
        "containerd asks where a manifest is missing; ECR's guide has it",
    ),
    ("ReadScanFindings", "ecr:DescribeImageScanFindings", "moto is asked in ecr.rs, where the calls are compared"),
    ("ReadScanFindingsOfInspector", "inspector2:ListFindings", "ECR asks Inspector; moto's ECR asks nobody"),
    ("ReadScanFindingsOfInspector", "inspector2:ListCoverage", "the same"),
    ("ReadSigningKey", "kms:GetPublicKey", "moto is asked in trust.rs, where nothing is recorded"),
    (
        "WriteContainerLogs",
        "logs:CreateLogStream",
        "the engine's awslogs driver; there is no server of CloudWatch Logs",
    ),
    ("WriteContainerLogs", "logs:PutLogEvents", "the same"),
];

fn instance() -> Policy {
    Policy::read("instance.json", "releases", "web")
}

#[test]
fn the_policy_refuses_another_action_another_bucket_and_another_repository() {
    let allowed = [
        ("s3:GetObject", "arn:aws:s3:::releases/web/1.4.2.tar", "ReadRevisionsAndArchives"),
        ("S3:getobjectVERSION", "arn:aws:s3:::releases/a:b", "ReadRevisionsAndArchives"),
        ("s3:ListBucket", "arn:aws:s3:::releases", "TellMissingFromDenied"),
        ("s3:GetObject", "arn:aws:s3:::secrets/web/prod.env", "ReadEnvFiles"),
        ("ecr:GetAuthorizationToken", "*", "GetRegistryToken"),
        ("ecr:BatchGetImage", "arn:aws:ecr:eu-west-1:123456789012:repository/web", "PullImages"),
    ];
    for (action, resource, sid) in allowed {
        assert_eq!(instance().allows(&Need::new(action, resource)), Some(sid), "{action} {resource}");
    }
    let refused = [
        ("s3:PutObject", "arn:aws:s3:::releases/web.tar"),
        ("s3:GetObjectAcl", "arn:aws:s3:::releases/web.tar"),
        ("s3:GetObject", "arn:aws:s3:::releases"),
        ("s3:GetObject", "arn:aws:s3:::releases-2/web.tar"),
        ("s3:GetObject", "arn:aws:s3:::RELEASES/web.tar"),
        ("s3:GetObject", "arn:aws:s3:::secrets/api/prod.env"),
        ("s3:ListBucket", "arn:aws:s3:::secrets"),
        ("ecr:PutImage", "arn:aws:ecr:eu-west-1:123456789012:repository/web"),
        ("ecr:BatchGetImage", "arn:aws:ecr:eu-west-1:123456789012:repository/web2"),
        ("ecr:BatchGetImage", "arn:aws:ecr:eu-west-1:999999999999:repository/web"),
        ("ecr:BatchGetImage", "arn:aws:ecr:us-east-1:123456789012:repository/web"),
        // By the condition that S3 asks, which nobody can see here.
        ("kms:Decrypt", "arn:aws:kms:eu-west-1:123456789012:key/KEY"),
    ];
    for (action, resource) in refused {
        assert_eq!(instance().allows(&Need::new(action, resource)), None, "{action} {resource}");
    }
}

#[test]
fn wildcards_reach_as_far_as_iam_says_and_a_deny_outweighs_an_allow() {
    let allows = |action: &str, resource: &str, need: &str| {
        let statement = format!(r#"{{"Sid": "A", "Effect": "Allow", "Action": "{action}", "Resource": "{resource}"}}"#);
        let deny = r#"{"Effect": "Deny", "Action": ["s3:*"], "Resource": ["arn:aws:s3:::b/secret/*"]}"#;
        let policy = Policy::parse(&format!(r#"{{"Statement": [{statement}, {deny}]}}"#));
        policy.allows(&Need::new("s3:GetObject", need)).is_some()
    };
    for (action, resource, need, is_allowed) in [
        ("s3:Get*", "*", "arn:aws:s3:::b/k", true),
        ("s3:?etObject", "arn:aws:s3:::b/*/d", "arn:aws:s3:::b/x/y/d", true),
        ("*", "arn:aws:s3:::b/????.tar", "arn:aws:s3:::b/abcd.tar", true),
        ("*", "arn:aws:s3:::b/????.tar", "arn:aws:s3:::b/abc.tar", false),
        ("*", "arn:aws:s3:::b/a?b", "arn:aws:s3:::b/a:b", false),
        ("*", "arn:aws:s3:*", "arn:aws:s3:::b/k", true),
        ("*", "arn:aws:s3:::b*k", "arn:aws:s3:::b/x:y/k", false),
        ("*", "arn:aws:s3:::b", "arn:aws:s3:::b/k", false),
        ("s3:GetObject*", "arn:aws:s3:::*", "arn:aws:s3:::b/k:1", true),
        ("s3:GetObjectV*", "arn:aws:s3:::*", "arn:aws:s3:::b/k", false),
        ("*", "*", "arn:aws:s3:::b/secret/k", false),
    ] {
        assert_eq!(allows(action, resource, need), is_allowed, "{action} {resource} {need}");
    }
}

/// What a call needs, or what is wrong with it.
fn said(call: &Call) -> String {
    call.needs().map_or_else(|unknown| unknown, |all| all.iter().map(Need::to_string).collect::<Vec<_>>().join(", "))
}

#[test]
fn a_call_is_the_action_on_the_resource_that_aws_documents_and_one_that_nobody_knows_is_refused() {
    for (head, status, wanted) in [
        ("GET /b/a%20b/k?x-id=GetObject", 206, "s3:GetObject arn:aws:s3:::b/a b/k"),
        ("HEAD /b/k", 404, "s3:GetObject arn:aws:s3:::b/k, s3:ListBucket arn:aws:s3:::b"),
        ("HEAD /b/k?versionId=3", 200, "s3:GetObjectVersion arn:aws:s3:::b/k"),
        ("HEAD /b", 200, "s3:ListBucket arn:aws:s3:::b"),
        ("GET /b/?list-type=2&prefix=k", 200, "s3:ListBucket arn:aws:s3:::b"),
        ("GET /b?location", 200, "s3:GetBucketLocation arn:aws:s3:::b"),
        ("GET /b/k?acl", 200, "not known: S3: GET /b/k?acl  by \"bundle-1\""),
        ("PUT /b/k", 200, "not known: S3: PUT /b/k  by \"bundle-1\""),
    ] {
        let head = format!("{head} HTTP/1.1\r\nHost: x\r\nuser-agent: aws-sdk-rust/1.3 app/bundle-1 md/x\r\n\r\n");
        assert_eq!(said(&Call::parse(Service::S3, &head).answered(status)), wanted);
    }
    for (operation, wanted) in [
        ("GetAuthorizationToken", "ecr:GetAuthorizationToken *"),
        ("PutImage", "not known: EcrApi: POST / AmazonEC2ContainerRegistry_V20150921.PutImage by \"bundle-1\""),
    ] {
        let agent = "user-agent: aws-sdk-go-v2/1.2 app/bundle-1";
        let head = format!(
            "POST / HTTP/1.1\r\n{agent}\r\nX-Amz-Target: AmazonEC2ContainerRegistry_V20150921.{operation}\r\n\r\n"
        );
        assert_eq!(said(&Call::parse(Service::EcrApi, &head)), wanted);
    }
    let nobody = Call::parse(Service::S3, "GET /releases/k HTTP/1.1\r\n\r\n");
    assert_eq!(nobody.refused("web"), ["not known: S3: GET /releases/k  by \"\""]);
}

#[test]
fn the_requests_of_a_connection_are_told_apart_however_its_bytes_arrive() {
    let text = "PUT /b/k HTTP/1.1\r\nContent-Length: 21\r\n\r\nGET /no HTTP/1.1\r\n\r\n\nHEAD /b/k HTTP/1.1\r\nHost: x\r\n\r\n";
    for size in [1, 7, 1000] {
        let mut heads = Heads::default();
        let all: Vec<String> = text.as_bytes().chunks(size).flat_map(|bytes| heads.feed(bytes)).collect();
        let lines: Vec<&str> = all.iter().map(|head| head.lines().next().unwrap()).collect();
        assert_eq!(lines, ["PUT /b/k HTTP/1.1", "HEAD /b/k HTTP/1.1"], "{size}");
    }
}

#[test]
fn a_call_that_the_policy_does_not_allow_fails_the_very_test_that_makes_it() {
    let name = world().name("elsewhere");
    let said = std::panic::catch_unwind(|| {
        let bundle = Bundle::container(&name, "image: {archive: \"s3://somewhere-else/web.tar\"}", "");
        bundle.hook("AfterInstall").exits(6);
    });
    let said = said.unwrap_err();
    let said = said.downcast_ref::<String>().unwrap();
    assert!(said.contains("s3:GetObject arn:aws:s3:::somewhere-else/web.tar"), "{said}");
}

#[test]
fn each_action_that_an_instance_is_allowed_is_one_that_it_needs() {
    let (world, name) = (world(), world().name("allowed"));
    world.wait_for_port(5000);
    push(&name, ECR, "1", "one");
    let scratch = tempfile::tempdir_in(world.folder()).unwrap();
    let (archive, _) = web(&format!("{name}:1"), "one").write_into(scratch.path());
    let file = scratch.path().join("prod.env");
    std::fs::write(&file, "LEVEL=s3\n").unwrap();
    ["versions", "secrets"].iter().for_each(|bucket| world.enable_versions(bucket));
    let archive_version = world.put_version("versions", &name, &archive);
    let env = format!("{name}/prod.env");
    let env_version = world.put_version("secrets", &env, &file);
    let with = |image: &str| {
        format!("image: {image}\nenv_file: [\"s3://secrets/{env}\", \"s3://secrets/{env}?versionId={env_version}\"]")
    };
    let bundle = Bundle::container(&name, &with(&format!("{ECR}/{name}:1")), "");
    bundle.hook("AfterInstall").exits(0).says("docker pull");
    bundle.appspec(&appspec(
        &name,
        &with(&format!("{{archive: \"s3://versions/{name}?versionId={archive_version}\"}}")),
        "",
    ));
    bundle.hook("AfterInstall").exits(0).says("] load ");
    bundle.appspec(&appspec(&name, &with(&format!("{{archive: \"s3://releases/{name}/missing.tar\"}}")), ""));
    bundle.hook("AfterInstall").exits(6).says("does not exist");

    let calls = bundle.calls(&name);
    let used: BTreeSet<_> = calls.iter().filter(|call| !call.is_push()).flat_map(|call| call.allowed(&name)).collect();
    let pairs = |all: &mut dyn Iterator<Item = (&str, &str)>| -> BTreeSet<(String, String)> {
        all.map(|(sid, action)| (sid.to_owned(), action.to_owned())).collect()
    };
    let unseen = pairs(&mut UNSEEN.iter().map(|(sid, action, _)| (*sid, *action)));
    assert_eq!(&used | &unseen, pairs(&mut instance().actions()), "used: {used:#?}");
    // The engine's own affair: containerd's may see what another one does not.
    let seen: Vec<_> = used.intersection(&unseen).filter(|(_, action)| !action.starts_with("ecr:")).collect();
    assert_eq!(seen, Vec::<&(String, String)>::new(), "seen after all");
    let pushed: BTreeSet<_> = calls.iter().filter(|call| call.is_push()).flat_map(|call| call.allowed(&name)).collect();
    assert!(pushed.contains(&("PushImages".into(), "ecr:PutImage".into())), "{pushed:#?}");
}
