//! Containers that live in the namespaces of one that is replaced.

use crate::support::{Served, world};

#[test]
fn who_uses_the_network_of_a_container_that_is_replaced_is_named_with_what_to_do_and_a_restart_does_not_help() {
    let served = Served::with_next("shared", "health: {http: /healthz, timeout: 20s}");
    let (name, sidecar) = (&served.name, format!("{}-sidecar", served.name));
    let of = format!("container:{name}");
    let image = world().inspect(name, "{{.Image}}");
    let run = ["run", "--detach", "--name", &sidecar, "--network", &of, "--pid", &of, &image];
    world().docker(&[&run[..], &["/bin/busybox", "sleep", "1000"]].concat());
    let said = format!("container {sidecar} (");
    let uses = format!("uses the network and pid namespace of {name} and loses it: create it anew afterwards");

    served.bundle.run(&["plan"]).exits(0).prints(&format!("note: {said}")).prints(&uses);
    served.bundle.hook("ApplicationStart").exits(0).says(&said).says(&uses);

    let restarted = world().docker_may_fail(&["restart", "--time", "0", &sidecar]);
    assert!(restarted.is_err_and(|why| why.contains(&served.id)), "it names the old container by its ID");
    world().docker(&["rm", "--force", &sidecar]);
    served.serves("new");
}
