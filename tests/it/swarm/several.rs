//! Swarms of three nodes, on each of which the same hook runs at once.

use std::sync::{Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use crate::notify::{notify, told};
use crate::support::cluster::{Cluster, appspec};
use crate::support::images::web;
use crate::support::{Bundle, Image, Outcome, world};

use super::ARCHIVE;

/// Three engines in one swarm, for one test at a time: all of them manage it, or the first alone.
pub fn three(managers: usize) -> MutexGuard<'static, Cluster> {
    static THREE: OnceLock<Mutex<Cluster>> = OnceLock::new();
    let cluster = THREE.get_or_init(|| Mutex::new(Cluster::swarm(3, 0)));
    let cluster = cluster.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    for node in 1..=3 {
        // Where a test failed after it had killed one.
        if cluster.docker_may_fail(node, &["version"]).is_err() {
            cluster.restart(node);
            cluster.wait_for("a killed engine", || cluster.docker_may_fail(node, &["node", "ls"]).is_ok());
        }
    }
    for node in 2..=3 {
        let change = if node <= managers { "promote" } else { "demote" };
        write(&cluster, 1, &["node", change, &format!("node-{node}")]);
    }
    (1..=3).for_each(|node| availability(&cluster, node, "active"));
    cluster.wait_for("the roles", || {
        (1..=3).all(|node| {
            let said = cluster.docker(node, &["info", "--format", "{{.Swarm.ControlAvailable}}"]);
            said == (node <= managers).to_string()
        })
    });
    cluster
}

/// Drains a node, or has it take tasks again; the next test finds all of them active.
pub fn availability(cluster: &Cluster, node: usize, to: &str) {
    write(cluster, 1, &["node", "update", "--availability", to, &format!("node-{node}")]);
}

/// The swarm writes to its nodes too, and refuses who has read one before that: "update out of sequence".
fn write(cluster: &Cluster, manager: usize, change: &[&str]) {
    cluster.wait_for(&change.join(" "), || cluster.docker_may_fail(manager, change).is_ok());
}

/// The same revision on every node, with an image of its own in each bundle.
pub fn revisions(cluster: &Cluster, name: &str, rest: &str, image: &Image) -> Vec<Bundle> {
    let text = appspec(name, &format!("{ARCHIVE}{rest}"), "health: {timeout: 20s}");
    let each = (1..=cluster.count()).map(|node| {
        let bundle = cluster.bundle(node, &text);
        image.write_into(&bundle.path());
        bundle
    });
    each.collect()
}

/// An event on all of them at once.
pub fn at_once(bundles: &[Bundle], event: &str) -> Vec<Outcome> {
    std::thread::scope(|scope| {
        let running: Vec<_> = bundles.iter().map(|bundle| scope.spawn(|| bundle.hook(event))).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

pub fn deploy(bundles: &[Bundle]) -> Vec<Outcome> {
    at_once(bundles, "AfterInstall").iter().for_each(|outcome| {
        outcome.exits(0);
    });
    at_once(bundles, "ApplicationStart")
}

pub fn exit_codes(outcomes: &[Outcome]) -> Vec<Option<i32>> {
    outcomes.iter().map(|outcome| outcome.code).collect()
}

/// How many of them wrote the service, by what they said.
fn writers(outcomes: &[Outcome]) -> usize {
    let wrote = |outcome: &&Outcome| {
        let planned = outcome.stdout.contains("] create service") || outcome.stdout.contains("] update service");
        planned && !outcome.stdout.contains("another manager")
    };
    outcomes.iter().filter(wrote).count()
}

/// The nodes of a service's tasks, a line each.
fn nodes(cluster: &Cluster, service: &str) -> String {
    cluster.docker(1, &["service", "ps", "--filter", "desired-state=running", "--format", "{{.Node}}", service])
}

const DEPLOY: &str =
    "deploy: {replicas: 3, update_config: {monitor: 2s, parallelism: 0}, rollback_config: {monitor: 1s}}";

#[test]
fn three_managers_at_once_make_one_update_and_report_the_same_end() {
    let (cluster, name) = (three(3), world().name("together"));
    let first = revisions(&cluster, &name, DEPLOY, &web(&format!("{name}:1"), "one"));
    let outcomes = deploy(&first);
    assert_eq!(exit_codes(&outcomes), [Some(0); 3], "{outcomes:#?}");
    assert_eq!(writers(&outcomes), 1, "{outcomes:#?}");

    let folder = tempfile::tempdir().unwrap();
    let (tells, file) = (notify(&folder.path().join("told")), folder.path().join("told"));
    let tells: String = tells.lines().map(|line| format!("  {line}\n")).collect();
    let second = revisions(&cluster, &name, DEPLOY, &web(&format!("{name}:2"), "two"));
    for bundle in &second {
        let text = std::fs::read_to_string(bundle.path().join("appspec.yml")).unwrap();
        bundle.appspec(&text.replace("  health:", &format!("{tells}  health:")));
    }
    let outcomes = deploy(&second);
    let of_one = told(&file);
    assert_eq!((of_one.len(), of_one[0].0.as_str()), (1, "success"), "one manager tells: {of_one:?}");
    assert_eq!(exit_codes(&outcomes), [Some(0); 3], "{outcomes:#?}");
    assert_eq!(writers(&outcomes), 1, "{outcomes:#?}");
    let image = cluster.service(1, &name, "{{.Spec.TaskTemplate.ContainerSpec.Image}}");
    assert_eq!(cluster.tasks(1, &name), vec![format!("{image} Running"); 3]);
    let again = at_once(&second, "ApplicationStart");
    // An image that an ended task still holds may go only now.
    assert_eq!((exit_codes(&again), writers(&again)), (vec![Some(0); 3], 0), "{again:#?}");

    let broken = revisions(&cluster, &name, DEPLOY, &Image::new(&format!("{name}:3")).script("exit 3"));
    let outcomes = deploy(&broken);
    assert_eq!(exit_codes(&outcomes), [Some(8); 3], "{outcomes:#?}");
    assert_eq!(cluster.service(1, &name, "{{.Spec.TaskTemplate.ContainerSpec.Image}}"), image);
    cluster.wait_for_tasks(1, &name, &image, 3);
    cluster.docker(1, &["service", "rm", &name]);
}

#[test]
fn a_manager_updates_and_its_workers_report_their_own_tasks() {
    let (cluster, name) = (three(1), world().name("workers"));
    let global = "deploy: {mode: global, update_config: {monitor: 2s, parallelism: 0}, rollback_config: {monitor: 1s}}";
    let first = revisions(&cluster, &name, global, &web(&format!("{name}:1"), "one"));
    let outcomes = deploy(&first);
    assert_eq!(exit_codes(&outcomes), [Some(0); 3], "{outcomes:#?}");
    outcomes[0].says("3 of 3 tasks run");
    outcomes[1..].iter().for_each(|outcome| {
        outcome.says(&format!("1 task of {name} on this node run"));
    });
    at_once(&first, "ValidateService").iter().for_each(|outcome| {
        outcome.exits(0);
    });
    at_once(&first, "ApplicationStop").iter().for_each(|outcome| {
        outcome.exits(0);
    });
    assert_eq!(cluster.tasks(1, &name).len(), 3, "ApplicationStop stops nothing");

    let broken = revisions(
        &cluster,
        &name,
        global,
        &Image::new(&format!("{name}:2")).script("echo no database; sleep 1; exit 3"),
    );
    let outcomes = deploy(&broken);
    outcomes[0].exits(8).says("non-zero exit (3)");
    outcomes[1..].iter().for_each(|outcome| {
        outcome.exits(8);
    });
    cluster.docker(1, &["service", "rm", &name]);
}

#[test]
fn a_drained_manager_deploys_what_runs_elsewhere_and_comes_to_the_same_end_as_the_others() {
    let (cluster, name) = (three(3), world().name("drained"));
    availability(&cluster, 2, "drain");
    let first = revisions(&cluster, &name, DEPLOY, &web(&format!("{name}:1"), "one"));
    let outcomes = deploy(&first);
    assert_eq!(exit_codes(&outcomes), [Some(0); 3], "{outcomes:#?}");
    assert_eq!(writers(&outcomes), 1, "{outcomes:#?}");
    outcomes.iter().for_each(|outcome| {
        outcome.says("3 of 3 tasks run");
    });

    let second = revisions(&cluster, &name, DEPLOY, &web(&format!("{name}:2"), "two"));
    at_once(&second, "AfterInstall").iter().for_each(|outcome| {
        outcome.exits(0);
    });
    let alone = second[1].hook("ApplicationStart");
    alone.exits(0).says("3 of 3 tasks run");
    assert_eq!(writers(&[alone]), 1, "it writes the update itself");
    let others = at_once(&second, "ApplicationStart");
    assert_eq!((exit_codes(&others), writers(&others)), (vec![Some(0); 3], 0), "{others:#?}");
    at_once(&second, "ValidateService").iter().for_each(|outcome| {
        outcome.exits(0);
    });
    let image = cluster.service(2, &name, "{{.Spec.TaskTemplate.ContainerSpec.Image}}");
    assert_eq!(cluster.tasks(2, &name), vec![format!("{image} Running"); 3]);
    assert!(!nodes(&cluster, &name).contains("node-2"), "{}", nodes(&cluster, &name));

    let broken = revisions(&cluster, &name, DEPLOY, &Image::new(&format!("{name}:3")).script("exit 3"));
    let outcomes = deploy(&broken);
    assert_eq!(exit_codes(&outcomes), [Some(8); 3], "{outcomes:#?}");
    assert_eq!(cluster.service(2, &name, "{{.Spec.TaskTemplate.ContainerSpec.Image}}"), image);
    cluster.docker(1, &["service", "rm", &name]);
}

#[test]
fn a_drained_manager_asks_the_only_node_that_takes_tasks_for_an_archives_image() {
    let (cluster, name) = (three(3), world().name("only"));
    (2..=3).for_each(|node| availability(&cluster, node, "drain"));
    let bundles = revisions(&cluster, &name, DEPLOY, &web(&format!("{name}:1"), "one"));
    bundles[1].appspec(&appspec(&name, &format!("{ARCHIVE}{DEPLOY}"), "health: {timeout: 2s}"));
    bundles[1].hook("AfterInstall").exits(0);

    bundles[1].hook("ApplicationStart").exits(6).says("these nodes do not have").says(": node-1 (exit code 6)");

    bundles[0].hook("AfterInstall").exits(0);
    bundles[1].hook("ApplicationStart").exits(0).says("3 of 3 tasks run");
    assert_eq!(nodes(&cluster, &name), "node-1\nnode-1\nnode-1");
    cluster.docker(1, &["service", "rm", &name]);
}

#[test]
fn an_archive_that_a_node_lacks_is_said_by_node_and_nothing_is_updated() {
    let (cluster, name) = (three(3), world().name("lacking"));
    let text = "health: {timeout: 2s}";
    let bundles = revisions(&cluster, &name, DEPLOY, &web(&format!("{name}:1"), "one"));
    let short = appspec(&name, &format!("{ARCHIVE}{DEPLOY}"), text);
    bundles[0].appspec(&short);
    bundles[0].hook("AfterInstall").exits(0);
    bundles[2].hook("AfterInstall").exits(0);

    let refused = bundles[0].hook("ApplicationStart");
    refused.exits(6).says("these nodes do not have").says(": node-2 (exit code 6)");
    let services = cluster.docker(1, &["service", "ls", "--format", "{{.Name}}"]);
    assert!(!services.contains(&name), "neither the service nor the question is left:\n{services}");

    // A drained node runs nothing, and need not have it.
    availability(&cluster, 2, "drain");
    bundles[0].hook("ApplicationStart").exits(0).says("3 of 3 tasks run");
    assert!(!nodes(&cluster, &name).contains("node-2"), "{}", nodes(&cluster, &name));
    cluster.docker(1, &["service", "rm", &name]);
}

#[test]
fn a_drained_node_a_killed_leader_and_most_of_a_minute_without_one_do_not_end_the_deployment() {
    let (cluster, name) = (three(3), world().name("leader"));
    let slow = "deploy: {replicas: 3, update_config: {monitor: 2s, delay: 2s}, rollback_config: {monitor: 1s}}";
    let first = revisions(&cluster, &name, slow, &web(&format!("{name}:1"), "one"));
    assert_eq!(exit_codes(&deploy(&first)), [Some(0); 3]);

    let second = revisions(&cluster, &name, slow, &web(&format!("{name}:2"), "two"));
    for bundle in &second {
        // The swarm takes its time to give a dead node's tasks to another.
        let text = std::fs::read_to_string(bundle.path().join("appspec.yml")).unwrap();
        bundle.appspec(&text.replace("timeout: 60", "timeout: 300"));
    }
    at_once(&second, "AfterInstall").iter().for_each(|outcome| {
        outcome.exits(0);
    });
    let leader = (1..=3)
        .find(|node| {
            cluster.docker(*node, &["node", "inspect", "self", "--format", "{{.ManagerStatus.Leader}}"]) == "true"
        })
        .unwrap();
    let others: Vec<usize> = (1..=3).filter(|node| *node != leader).collect();
    let mut running: Vec<_> = second.iter().map(|bundle| bundle.start("ApplicationStart")).collect();
    // Each of the others is past its question to the nodes: one that dies meanwhile would not answer.
    for node in &others {
        running[node - 1].wait_until_said("wait for");
    }
    write(&cluster, others[0], &["node", "update", "--availability", "drain", &format!("node-{}", others[1])]);
    cluster.kill(leader);
    // One manager of three elects nobody.
    cluster.cable(others[1], "down");
    std::thread::sleep(Duration::from_secs(45));
    cluster.cable(others[1], "up");

    let outcomes: Vec<Outcome> = running.into_iter().map(crate::support::bundle::Running::wait).collect();
    // Its engine is gone: nothing can be asked, and nothing undone.
    assert!(matches!(outcomes[leader - 1].code, Some(5 | 13)), "{:#?}", outcomes[leader - 1]);
    for node in &others {
        outcomes[node - 1].exits(0);
    }
    let image = cluster.service(others[0], &name, "{{.Spec.TaskTemplate.ContainerSpec.Image}}");
    let running = cluster.tasks(others[0], &name);
    assert!(running.contains(&format!("{image} Running")), "{running:?}");
    cluster.restart(leader);
    cluster.wait_for("the leader of before", || cluster.docker_may_fail(leader, &["node", "ls"]).is_ok());
    cluster.docker(others[0], &["service", "rm", &name]);
}
