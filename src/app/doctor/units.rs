//! The units that systemd starts: at boot, when rules change, before a token ends.

use std::path::Path;
use std::time::Duration;

use crate::app::Context;
use crate::app::doctor::engine::EngineSeen;
use crate::app::doctor::state::StateFacts;
use crate::process::{self, Program};
use crate::ui::doctor::Row;

const CHECK: &str = "units";

/// How long `systemctl` may take.
const LIMIT: Duration = Duration::from_secs(3);

/// Which units this host needs.
fn needed(seen: &EngineSeen, state: &StateFacts) -> Vec<&'static str> {
    let swarm = seen.info.as_ref().ok().and_then(|info| info.swarm.as_ref());
    let is_manager = swarm.is_some_and(|swarm| swarm.control_available == Some(true));
    let mut units = vec!["balehook-resume.service"];
    units.extend(state.has_switched.then_some("balehook-ports.socket"));
    units.extend(is_manager.then_some("balehook-tokens.timer"));
    units.extend(seen.is_local.then_some("docker.service"));
    units
}

pub(super) async fn row(context: &Context, root: &Path, seen: &EngineSeen, state: &StateFacts) -> Row {
    if !root.join("run/systemd/system").exists() {
        return Row::not_known(CHECK, "systemd does not run here: what starts `balehook resume` at boot?");
    }
    let path = context.credentials().path;
    let Some(systemctl) = process::find("systemctl", &path) else {
        return Row::not_known(CHECK, "systemctl is not on the PATH");
    };
    let asked = needed(seen, state).into_iter().map(|unit| {
        let program = Program::new(&systemctl).args(["is-enabled", unit]).env("PATH", &path);
        async move { (unit, program.run(LIMIT, 1024).await.map(|ended| ended.words(80))) }
    });
    judge(
        &futures_util::future::join_all(asked)
            .await
            .into_iter()
            .map(|(unit, said)| (unit, said.ok()))
            .collect::<Vec<_>>(),
    )
}

/// `said`: what systemctl printed of each; `None` where it did not end.
fn judge(units: &[(&str, Option<String>)]) -> Row {
    let is_enabled = |said: &str| ["enabled", "static", "alias", "linked", "generated", "indirect"].contains(&said);
    if let Some((unit, _)) = units.iter().find(|(_, said)| said.is_none()) {
        return Row::not_known(CHECK, format!("systemctl is-enabled {unit} has not ended for {} s", LIMIT.as_secs()));
    }
    let off: Vec<&str> =
        units.iter().filter(|(_, said)| !said.as_deref().is_some_and(is_enabled)).map(|(unit, _)| *unit).collect();
    match off.is_empty() {
        true => {
            Row::ok(CHECK, format!("enabled: {}", units.iter().map(|(unit, _)| *unit).collect::<Vec<_>>().join(", ")))
        }
        false => Row::warning(
            CHECK,
            format!("{} will not start at boot", off.join(", ")),
            format!("install the package, then: systemctl enable --now {}", off.join(" ")),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_that_is_not_enabled_or_not_there_is_named_with_what_enables_it() {
        let said = |text: &str| Some(text.to_owned());
        let row = judge(&[
            ("balehook-resume.service", said("disabled")),
            ("balehook-tokens.timer", said("Failed to get unit file state for balehook-tokens.timer: No such file")),
            ("docker.service", said("enabled")),
        ]);
        let names = "balehook-resume.service, balehook-tokens.timer";
        let remedy = "install the package, then: systemctl enable --now balehook-resume.service balehook-tokens.timer";
        assert_eq!(row, Row::warning("units", format!("{names} will not start at boot"), remedy));
        assert_eq!(judge(&[("docker.service", said("enabled"))]), Row::ok("units", "enabled: docker.service"));
        let hangs = judge(&[("docker.service", None)]);
        assert_eq!(hangs, Row::not_known("units", "systemctl is-enabled docker.service has not ended for 3 s"));
    }
}
