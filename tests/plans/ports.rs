//! What `resume --ports` does with the scenes of the handover: rules, and nothing else.

use balehook::modes::container::recover;
use balehook::modes::facts::Facts;

use crate::scenes;

/// The steps, as they are printed.
fn steps(facts: &Facts) -> Vec<String> {
    let recovery = recover::ports(&"web".parse().unwrap(), facts);
    recovery.actions.iter().map(|action| action.operation.to_string()).collect()
}

#[test]
fn rules_that_were_flushed_are_written_again() {
    let to_the_old = "switch 127.0.0.1:9000->9000/udp 80->8080/tcp of web to 198.18.200.130";
    assert_eq!(steps(&scenes::flushed()), [to_the_old]);
    assert_eq!(steps(&scenes::cut()), [to_the_old], "the release on record, though a handover was cut off behind it");
}

#[test]
fn nothing_is_done_where_the_ports_lead_to_the_release_on_record() {
    assert_eq!(steps(&scenes::handing()), [""; 0]);
    assert_eq!(steps(&scenes::cut_late()), [""; 0], "what a deployment left is not its affair");
}

#[test]
fn a_container_that_was_stopped_is_not_started() {
    let mut facts = scenes::flushed();
    facts.containers[0].state = "exited".into();
    assert_eq!(steps(&facts), steps(&scenes::flushed()));
}

#[test]
fn what_publishes_its_ports_itself_or_is_on_no_record_gets_no_rule() {
    assert_eq!(steps(&scenes::serving()), [""; 0]);
    assert_eq!(steps(&Facts { releases: Vec::new(), ..scenes::flushed() }), [""; 0]);
}
