//! `prune`: images of a name that no kept release needs, by the same plan as in BeforeInstall. Values in, a plan out.

use crate::error::{Failure, Kind};
use crate::images::operation::ImageOperation;
use crate::modes::facts::Facts;
use crate::modes::images::prune_saved;
use crate::modes::operation::Plan;
use crate::values::text::megabytes;
use crate::values::types::Name;

/// As the command is called.
pub(crate) const COMMAND: &str = "prune";

/// What `prune` removes of a name, and of images without a tag: each by its ID, with its bytes.
///
/// # Errors
/// A killed deployment left something: what it needs is not known before that is finished.
pub fn plan(name: &Name, facts: &Facts, dangling: &[(String, u64)]) -> Result<Plan, Failure> {
    let mut plan = Plan::new(COMMAND, name);
    if facts.left.is_some() {
        let why = format!("a deployment of {name} was killed, and is not finished or undone");
        return Err(Failure::new(Kind::State, why).next(format!("balehook resume {name}, then prune")));
    }
    prune_saved(&mut plan, name, facts);
    if !dangling.is_empty() {
        let bytes = dangling.iter().map(|(_, bytes)| bytes).sum();
        plan.notes.push(format!(
            "{} images without a tag that are not ours go, unless a container is made of them: at most {}",
            dangling.len(),
            megabytes(bytes)
        ));
    }
    for (id, _) in dangling {
        plan.attempt(ImageOperation::Untag { reference: id.clone() });
    }
    Ok(plan)
}
